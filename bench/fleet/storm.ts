import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { SECOND } from '../../src/base/clock.ts';
import { createCsr } from '../../src/pki/csr.ts';
import { generateKey, privateKeyToPem } from '../../src/pki/keys.ts';
import { createTimer, emptyStorage, inParallel, openFleet, rate } from './manager.ts';

/** What a sidecar is to the thread of sidecars. */
export interface Member {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** For its next certificate. */
  readonly csr: string;
}

/** From the thread of sidecars. */
export type StormMessage =
  | { readonly what: 'connected' }
  | {
      readonly what: 'renewed';
      readonly lost: number;
      /** Of each answer that gave a certificate, ms. */
      readonly answers: readonly number[];
      /** Of each sidecar from the word to its certificate, ms. */
      readonly waits: readonly number[];
      readonly refusals: number;
    };

/**
 * F26: so many sidecars hold a connection to one manager and are told at one moment to renew. They wait as long as a busy
 * manager asks, as ours do (`askedToWait`). How many targets were missed.
 */
export async function fleetStorm(count: number): Promise<number> {
  const { timed, line, missed } = createTimer();
  await using storage = await emptyStorage();
  await using fleet = await openFleet(storage.storagePath, count * 4);
  const { manager, api } = fleet;
  const members: Member[] = [];
  const enrol = async (i: number) => {
    const service = `sidecar-${i}`;
    const { token } = await manager.tokens.create({ service });
    const [key, next] = [await generateKey('ecdsa-p256'), await generateKey('ecdsa-p256')];
    const { pem } = await manager.enroll({ token, csr: createCsr(key, service), remote: '127.0.0.1' });
    const ca = manager.trustBundle().pem;
    members.push({ cert: pem, key: privateKeyToPem(key), ca, csr: createCsr(next, service) });
  };
  await timed(`enrol ${count} sidecars`, () => inParallel(count, 16, enrol), { more: rate(count) });
  const thread = new Worker(new URL('clients.ts', import.meta.url), { workerData: { address: api.url, members } });
  const heard = async (): Promise<StormMessage> => (await once(thread, 'message'))[0];
  await timed(`${count} sidecars connect`, heard, { more: () => `${manager.trust.followers()} are followed` });
  thread.postMessage('storm');
  const storm = await timed(`${count} renewals at once`, heard, { more: rate(count) });
  if (storm.what !== 'renewed') throw new Error('the sidecars said something else');
  const signed = signP99(await fleet.metrics.render());
  line('signing, p99', `${signed} ms of ${2 * SECOND}`, signed < 2 * SECOND);
  const p99 = quantile(storm.answers, 0.99);
  line('an answer, with its handshake', `p50 ${quantile(storm.answers, 0.5)} ms, p99 ${p99} ms`);
  line('a sidecar waits', `p50 ${quantile(storm.waits, 0.5)} ms, p99 ${quantile(storm.waits, 0.99)} ms`);
  line('told to come back later (429, 503)', `${storm.refusals} times`);
  line('identities lost', `${storm.lost} of 0`, storm.lost === 0);
  await thread.terminate();
  return missed();
}

/** Upper bound of the bucket in which the 99th of 100 lies, ms. */
function signP99(metrics: string): number {
  const buckets = [...metrics.matchAll(/^sidelock_issue_duration_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm)];
  const all = Number(buckets.at(-1)?.[2] ?? 0);
  const found = buckets.find(([, , count]) => Number(count) >= 0.99 * all)?.[1] ?? '+Inf';
  return found === '+Inf' ? Number.POSITIVE_INFINITY : Number(found) * SECOND;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0);
}
