/** Why a message breaks the rules, and the status that a request gets for it. A closed list: metric label. */
export const REJECTIONS = {
  bad_start_line: 400,
  bad_target: 400,
  bad_version: 505,
  bare_cr: 400,
  bare_lf: 400,
  folded_field: 400,
  bad_field_name: 400,
  bad_field_value: 400,
  too_many_fields: 431,
  head_too_large: 431,
  target_too_long: 414,
  missing_host: 400,
  repeated_host: 400,
  bad_host: 400,
  bad_content_length: 400,
  repeated_content_length: 400,
  length_and_encoding: 400,
  bad_transfer_encoding: 400,
  unknown_coding: 501,
  encoding_in_http_1_0: 400,
  framing_in_connection: 400,
  reserved_field: 400,
  connect: 405,
  bad_expect: 417,
  bad_chunk: 400,
  chunk_extension_too_long: 400,
  bad_trailer: 400,
  slow_head: 408,
  slow_body: 408,
} as const;
export type Rejection = keyof typeof REJECTIONS;

/** Why a response was not passed on: one that breaks the same rules, or rules that only responses have. */
export const RESPONSE_ONLY = [
  'bad_status',
  'too_many_interim',
  'unasked_upgrade',
  'bad_accept',
  'body_where_none',
  'cut',
] as const;
export type ResponseFault = Rejection | (typeof RESPONSE_ONLY)[number];
