/** Why a shared connection ended. A closed list: metric label and log field. */
export const LINK_CLOSE_REASONS = [
  // In order.
  'done',
  'idle',
  // By the peer or the network.
  'lost',
  'peer_error',
  'keepalive_timeout',
  // By us, after its time.
  'grace',
  'stopped',
  // The peer broke the protocol.
  'bad_version',
  'bad_type',
  'bad_flags',
  'bad_stream_id',
  'bad_parity',
  'id_reused',
  'too_many_gaps',
  'unknown_stream',
  'window_exceeded',
  'window_overflow',
  'data_after_fin',
  // The peer floods.
  'syn_flood',
  'refusal_flood',
  'reset_flood',
  'ping_flood',
  'empty_frames',
  'unread_answers',
] as const;
export type LinkCloseReason = (typeof LINK_CLOSE_REASONS)[number];

/** Ends that nobody has to be told of. */
export const ORDERLY: ReadonlySet<LinkCloseReason> = new Set(['done', 'idle', 'grace', 'stopped']);
