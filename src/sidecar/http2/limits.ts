import type { ClientSessionOptions, ServerSessionOptions } from 'node:http2';
import type { Direction } from '../metrics.ts';

/** Streams that one peer may have open at once, and that we open on one connection, whatever the peer allows. */
export const MAX_STREAMS = 100;

/** Bytes on their way on one stream, and on all of a connection. What a stalled reader may cost is MAX_STREAMS times the first. */
const STREAM_WINDOW = 256 * 1024;
export const CONNECTION_WINDOW = 1024 * 1024;

/** Reference: threats.md 3. Node's own values are in brackets where they differ. */
const COMMON = {
  /** MB that nghttp2 may hold for one connection. */
  maxSessionMemory: 10,
  maxOutstandingPings: 10,
  maxSettings: 32,
  /** [1000] */
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  /** One name twice goes on as it came, as in HTTP/1. */
  strictSingleValueFields: false,
};

const SETTINGS = { initialWindowSize: STREAM_WINDOW, maxConcurrentStreams: MAX_STREAMS };

/** [no limit for streams, 64 KiB for fields, 1000 resets and then 33 a second] An inbound has room for what a sidecar before us added. */
export function serverOptions(direction: Direction): ServerSessionOptions {
  const more = direction === 'inbound' ? 1 : 0;
  return {
    ...COMMON,
    maxHeaderListPairs: 128 + 2 * more,
    streamResetBurst: 100,
    streamResetRate: 10,
    settings: { ...SETTINGS, maxHeaderListSize: 32 * 1024 + 512 * more },
  };
}

export const CLIENT_OPTIONS: ClientSessionOptions = {
  ...COMMON,
  maxHeaderListPairs: 256,
  peerMaxConcurrentStreams: MAX_STREAMS,
  maxReservedRemoteStreams: 0,
  /** Those of all callers together. */
  maxSessionMemory: 64,
  settings: { ...SETTINGS, maxHeaderListSize: 64 * 1024, enablePush: false },
};
