import type { ClientSessionOptions, ServerSessionOptions } from 'node:http2';
import type { Direction } from '../metrics.ts';
import type { Http2Limits } from '../options.ts';

/** Of streams that were reset at once, in seconds of their rate. */
const RESET_BURST = 10;

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

/** What a head may have. */
interface HeadLimits {
  readonly fields: number;
  readonly bytes: number;
}

/** Of a request. An inbound has room for what a sidecar before us added. */
export function requestLimits(direction: Direction, { maxHeaderFields, maxHeaderBytes }: Http2Limits): HeadLimits {
  const more = direction === 'inbound' ? 1 : 0;
  return { fields: maxHeaderFields + 2 * more, bytes: maxHeaderBytes + 512 * more };
}

export function responseLimits({ maxHeaderFields, maxHeaderBytes }: Http2Limits): HeadLimits {
  return { fields: 2 * maxHeaderFields, bytes: 2 * maxHeaderBytes };
}

/** [no limit for streams, 64 KiB for fields, 1000 resets and then 33 a second] */
export function serverOptions(direction: Direction, limits: Http2Limits): ServerSessionOptions {
  const { fields, bytes } = requestLimits(direction, limits);
  return {
    ...COMMON,
    maxHeaderListPairs: fields,
    streamResetBurst: RESET_BURST * limits.resets,
    streamResetRate: limits.resets,
    settings: { ...settings(limits), maxHeaderListSize: bytes },
  };
}

export function clientOptions(limits: Http2Limits): ClientSessionOptions {
  const { fields, bytes } = responseLimits(limits);
  return {
    ...COMMON,
    maxHeaderListPairs: fields,
    peerMaxConcurrentStreams: limits.maxStreams,
    maxReservedRemoteStreams: 0,
    /** Those of all callers together. */
    maxSessionMemory: 64,
    settings: { ...settings(limits), maxHeaderListSize: bytes, enablePush: false },
  };
}

function settings({ streamWindow, maxStreams }: Http2Limits) {
  return { initialWindowSize: streamWindow, maxConcurrentStreams: maxStreams };
}
