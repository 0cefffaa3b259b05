import { lookupService } from 'node:dns/promises';
import type { PlaintextListenerReport } from '../api/wire-sidecar.ts';
import { roughly } from './table.ts';

/** Of a permissive listener: whether strict would cut somebody off, and whom. */
export interface Verdict extends PlaintextListenerReport {
  readonly safe: boolean;
  /** Span, for people. */
  readonly watched: string;
  /** Why it is not safe; empty when it is. */
  readonly reasons: readonly string[];
}

interface Judged {
  /** ms since the epoch. */
  readonly now: number;
  readonly windowMs: number;
  /** Of addresses, where one is known. */
  readonly names: ReadonlyMap<string, string>;
}

/** Safe: watched for the whole window, no plaintext in it, and none open. */
export function judge(one: PlaintextListenerReport, { now, windowMs, names }: Judged): Verdict {
  const { since, callers, other, open } = one;
  const watched = now - Date.parse(since);
  const recent = callers
    .filter(({ lastSeen }) => now - Date.parse(lastSeen) <= windowMs)
    .toSorted((a, b) => (a.lastSeen > b.lastSeen ? -1 : 1));
  const others = other.lastSeen !== undefined && now - Date.parse(other.lastSeen) <= windowMs;
  const reasons = [
    ...recent.map(({ address, connections, lastSeen }) => {
      const name = names.get(address);
      const who = name === undefined ? address : `${name} (${address})`;
      return `${who} called in plaintext: ${connections} connections, the last ${roughly(now - Date.parse(lastSeen))} ago`;
    }),
    ...(others ? [`${other.connections} connections in plaintext of callers beyond those kept`] : []),
    ...(open > 0 ? [`${open} connections in plaintext are open`] : []),
    ...(watched < windowMs ? [`watched for ${roughly(watched)} of ${roughly(windowMs)}`] : []),
  ];
  return { ...one, safe: reasons.length === 0, watched: roughly(watched), reasons };
}

/** What hosts file and DNS call these addresses; those that nobody names in time are missing. */
export async function namesOf(addresses: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const late = new Promise<undefined>((resolve) => {
    setTimeout(resolve, ANSWER_MS, undefined).unref();
  });
  const asked = [...new Set(addresses)].slice(0, MAX_ASKED).map(async (address) => {
    const answer = lookupService(address.replace(/^\[|\]$/g, ''), 0).catch(() => undefined);
    const name = (await Promise.race([answer, late]))?.hostname;
    return name === undefined || name === address ? [] : [[address, name] as const];
  });
  return new Map((await Promise.all(asked)).flat());
}

const ANSWER_MS = 1_000;
const MAX_ASKED = 32;
