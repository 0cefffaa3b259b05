import { setTimeout as sleep } from 'node:timers/promises';
import { createManagerClient } from '../../src/api/client.ts';
import { systemClock } from '../../src/base/clock.ts';
import { isSidelockError } from '../../src/base/errors.ts';
import { verifyCsr } from '../../src/pki/csr.ts';
import { type IdentityMaterial, readIdentity } from '../../src/pki/material.ts';
import { candidate } from '../support/manager/rig.ts';
import type { Replicas } from './replicas.ts';

/** What one request was answered with: every answer to it, and there may be several, since whoever hears none asks again. */
interface Answered {
  readonly service: string;
  readonly spkiSha256: string;
  readonly fingerprints: ReadonlySet<string>;
}

export interface Enrolling {
  readonly answered: readonly Answered[];
  /** Tokens that a crash used up: their requests got no certificate, and never will. */
  readonly lostTokens: number;
  /** Milliseconds of the longest time in which nobody got a certificate. */
  readonly longestGap: number;
  stop(): Promise<void>;
}

const RENEWALS = 3;
const PAUSE_MS = 100;

/** So many services at a time enrol, and renew, one after the other for as long as they may; each request until it is answered. */
export function startEnrolling(replicas: Replicas, callers: number): Enrolling {
  const answered: Answered[] = [];
  const stop = new AbortController();
  let lostTokens = 0;
  let longestGap = 0;
  let lastAt = performance.now();

  /** Until there is an answer, and once more: the same request has the same answer. */
  const insist = async (service: string, csr: string, ask: () => Promise<{ readonly certificate: string }>) => {
    const { spkiSha256 } = verifyCsr(csr, 'the request');
    const seen = new Set<string>();
    for (let first: { readonly certificate: string } | undefined; !stop.signal.aborted; ) {
      try {
        const answer = await ask();
        seen.add(answer.certificate);
        longestGap = Math.max(longestGap, performance.now() - lastAt);
        lastAt = performance.now();
        if (first !== undefined) break;
        first = answer;
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        if (error.code === 'SL-TOK-002') return undefined;
        if (!['SL-MGR-001', 'SL-MGR-002', 'SL-HA-001', 'SL-API-003', 'SL-API-004'].includes(error.code)) throw error;
        await sleep(PAUSE_MS);
      }
    }
    answered.push({ service, spkiSha256, fingerprints: seen });
    return [...seen][0];
  };
  const identityOf = (cert: string, key: string, ca: string): IdentityMaterial =>
    readIdentity({ cert, key, ca }, { now: systemClock.now() });
  const run = async (caller: number) => {
    for (let round = 0; !stop.signal.aborted; round++) {
      const service = `app-${caller}-${round}`;
      const token = await tokenFor(service);
      if (token === undefined) continue;
      let { csr, keyPem } = await candidate(service);
      const client = (identity?: IdentityMaterial) =>
        createManagerClient({
          address: replicas.address,
          clock: systemClock,
          timeoutMs: 4_000,
          ...(identity === undefined ? {} : { identity: () => identity }),
        });
      let bundle = '';
      let certificate = await insist(service, csr, async () => {
        const answer = await client().enroll(token, csr);
        bundle = answer.bundle;
        return answer;
      });
      if (certificate === undefined) {
        if (!stop.signal.aborted) lostTokens++;
        continue;
      }
      for (let renewal = 0; renewal < RENEWALS && certificate !== undefined && !stop.signal.aborted; renewal++) {
        const identity = identityOf(certificate, keyPem, bundle);
        const next = await candidate(service);
        certificate = await insist(service, next.csr, () => client(identity).renew(next.csr));
        ({ csr, keyPem } = next);
      }
      await sleep(PAUSE_MS);
    }
  };
  const tokenFor = async (service: string): Promise<string | undefined> => {
    try {
      return (await (await replicas.admin()).createToken({ service })).token;
    } catch (error) {
      if (!isSidelockError(error)) throw error;
      return undefined;
    }
  };
  const running = Promise.all(Array.from({ length: callers }, (_, caller) => run(caller)));
  running.catch(() => {});
  return {
    answered,
    get lostTokens() {
      return lostTokens;
    },
    get longestGap() {
      return longestGap;
    },
    async stop() {
      stop.abort();
      await running;
    },
  };
}
