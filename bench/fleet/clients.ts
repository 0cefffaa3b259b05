// The thread of sidecars of storm.ts: each holds a request for news, and renews when it is told.
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { createManagerClient } from '../../src/api/client.ts';
import { SECOND, systemClock, systemRandom } from '../../src/base/clock.ts';
import { isAbort, isSidelockError } from '../../src/base/errors.ts';
import { askedToWait, backoffDelay } from '../../src/base/retry.ts';
import { type IdentityMaterial, readIdentity } from '../../src/pki/material.ts';
import { inParallel } from './manager.ts';
import type { Member, StormMessage } from './storm.ts';

const { address, members }: { address: string; members: readonly Member[] } = workerData;
const clock = systemClock;
const stop = new AbortController();
const identities = members.map((member) => readIdentity(member, { now: clock.now() }));
const say = (message: StormMessage) => parentPort?.postMessage(message);

/** Opens what stays open: the answer comes when there is news, or after half a minute. */
async function follow(identity: IdentityMaterial): Promise<void> {
  const client = createManagerClient({ address, clock, signal: stop.signal, identity: () => identity });
  const { bundle } = identity;
  const { crl } = await client.news({ crl: 0, notices: 0 });
  const seen = { crl: crl?.number ?? 0, notices: 0, bundle: bundle.sha256, peers: new Map<string, number>() };
  void (async () => {
    while (!stop.signal.aborted) await client.news(seen);
  })().catch((error: unknown) => {
    if (!isAbort(error) && !stop.signal.aborted) throw error;
  });
}

await inParallel(identities.length, 32, async (i) => {
  const identity = identities[i];
  if (identity !== undefined) await follow(identity);
});
say({ what: 'connected' });
if (parentPort !== null) await once(parentPort, 'message');

const [answers, waits]: [number[], number[]] = [[], []];
let [refusals, lost] = [0, 0];
await Promise.all(
  identities.map(async (identity, i) => {
    const began = performance.now();
    const client = createManagerClient({ address, clock, timeoutMs: 30 * SECOND, identity: () => identity });
    for (let attempt = 0; attempt < 60; attempt++) {
      const asked = performance.now();
      try {
        await client.renew(members[i]?.csr ?? '');
        answers.push(performance.now() - asked);
        waits.push(performance.now() - began);
        return;
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        if (error.code === 'SL-API-003') refusals++;
        const wait = backoffDelay(attempt, { min: SECOND, max: 30 * SECOND }, systemRandom);
        await clock.sleep(Math.max(wait, askedToWait(error, systemRandom)), stop.signal);
      }
    }
    lost++;
  }),
);
say({ what: 'renewed', lost, answers, waits, refusals });
stop.abort();
