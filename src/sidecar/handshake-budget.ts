import { type Clock, SECOND } from '../base/clock.ts';
import { hostOf } from '../base/listen.ts';

/** How many seconds of failures may come at once. */
const BURST_SECONDS = 4;
/** Who came first is forgotten for another; a flood from so many addresses is no longer told apart by them. */
const MAX_ADDRESSES = 4_096;

/**
 * What handshakes may cost that come to nothing: each is a signature of ours and a chain of theirs. Those of one address
 * have a budget by the second; while it is used up, the next connections from there are closed before TLS begins
 * (threats.md X20).
 */
export interface HandshakeBudget {
  /** Takes what one handshake with `address` (`host:port`) costs; false when nothing is left. */
  take(address: string): boolean;
  /** It came to something. */
  giveBack(address: string): void;
}

export function createHandshakeBudget(failuresPerSecond: number, clock: Clock): HandshakeBudget {
  const spent = new Map<string, { debt: number; at: number }>();
  const burst = failuresPerSecond * BURST_SECONDS;
  const debtOf = (source: string): number => {
    const entry = spent.get(source);
    if (entry === undefined) return 0;
    return Math.max(0, entry.debt - (failuresPerSecond * Math.max(0, clock.now() - entry.at)) / SECOND);
  };
  const set = (source: string, debt: number) => {
    spent.delete(source);
    if (debt > 0) spent.set(source, { debt, at: clock.now() });
    const [oldest] = spent.keys();
    if (spent.size > MAX_ADDRESSES && oldest !== undefined) spent.delete(oldest);
  };
  return {
    take(address) {
      const source = sourceOf(address);
      const debt = debtOf(source);
      if (debt + 1 > burst) return false;
      set(source, debt + 1);
      return true;
    },
    giveBack(address) {
      const source = sourceOf(address);
      set(source, debtOf(source) - 1);
    },
  };
}

/** One machine has all of a /64 of IPv6. */
function sourceOf(address: string): string {
  const host = hostOf(address);
  if (!host.startsWith('[') || /^\[::ffff:[\d.]+\]$/i.test(host)) return host;
  const [head = ''] = host.slice(1).split('::');
  return head.split(':').slice(0, 4).join(':');
}
