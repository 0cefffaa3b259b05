import { isIPv6 } from 'node:net';
import type { Clock } from '../base/clock.ts';

export interface Rate {
  /** As many at once. */
  readonly burst: number;
  readonly perSecond: number;
}

export interface RateLimiter {
  /** Takes one from the bucket of `key`; returns 0, or how many milliseconds to wait when it is empty. */
  take(key: string): number;
  /** The same answer without taking. */
  wait(key: string): number;
}

interface Bucket {
  level: number;
  at: number;
}

/** More callers than this at one time share nothing: the longest unused bucket, which is the fullest, is forgotten. */
const MAX_KEYS = 10_000;

/** A token bucket per key, in bounded memory. */
export function createRateLimiter({ burst, perSecond }: Rate, clock: Clock): RateLimiter {
  const buckets = new Map<string, Bucket>();

  const bucketOf = (key: string): Bucket => {
    const now = clock.now();
    const known = buckets.get(key) ?? { level: burst, at: now };
    const gained = (Math.max(0, now - known.at) / 1000) * perSecond;
    const bucket = { level: Math.min(burst, known.level + gained), at: now };
    buckets.delete(key);
    buckets.set(key, bucket);
    if (buckets.size > MAX_KEYS) {
      for (const oldest of buckets.keys()) {
        buckets.delete(oldest);
        break;
      }
    }
    return bucket;
  };
  const wait = ({ level }: Bucket) => (level >= 1 ? 0 : Math.ceil(((1 - level) / perSecond) * 1000));

  return {
    take(key) {
      const bucket = bucketOf(key);
      const ms = wait(bucket);
      if (ms === 0) bucket.level -= 1;
      return ms;
    },
    wait: (key) => wait(bucketOf(key)),
  };
}

/** One caller by address: an IPv4 address, or the /64 that one IPv6 host may choose from freely. */
export function addressKey(address: string | undefined): string {
  if (address === undefined) return 'unknown';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : 8 - groups.length - after.length;
  return [...groups, ...Array<string>(missing).fill('0'), ...after].slice(0, 4).join(':');
}
