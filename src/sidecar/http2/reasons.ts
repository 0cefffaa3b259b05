/** Why we ended an HTTP/2 connection whose peer went too far. Closed: metric label and log field. */
export type CloseReason =
  /** More SETTINGS, PING or header blocks that were refused than anybody needs. */
  | 'settings_flood'
  | 'ping_flood'
  | 'rejected_heads'
  /** Frames that carry nothing: WINDOW_UPDATE, PRIORITY, unknown ones, blocks without end. */
  | 'empty_flood'
  | 'slow_head'
  /** What nghttp2 found: a broken rule of RFC 9113, or one of its own limits. */
  | 'protocol_error';
