import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { HOUR, MINUTE, SECOND } from '../../../src/base/clock.ts';
import { SidelockError } from '../../../src/base/errors.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import type { KubeApi, WatchEvent } from '../../../src/kubernetes/client.ts';
import type { Json } from '../../../src/kubernetes/names.ts';
import { signPodCertificates } from '../../../src/kubernetes/pod-certificates.ts';
import { createWatchMetrics } from '../../../src/kubernetes/watch-metrics.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { recordingLog } from '../../support/manager/rig.ts';

const POD = {
  metadata: { namespace: 'shop', name: 'orders-1', uid: 'pod-1' },
  spec: { serviceAccountName: 'orders' },
  status: { phase: 'Pending' },
};
const asked = (resourceVersion: string, uid = 'request-1', name = 'first'): Json => ({
  metadata: { namespace: 'shop', name, uid, resourceVersion },
  spec: {
    signerName: 'certificate.ai-teddy.com/identity',
    podName: 'orders-1',
    podUID: 'pod-1',
    serviceAccountName: 'orders',
    maxExpirationSeconds: 86_400,
  },
});

/** A signer in a cluster that tells what the test says, and answers each write as `write` does. */
function rig(t: { teardown(end: () => Promise<void>): void }, write: (name: string) => Json | undefined) {
  const clock = fakeClock();
  const stop = new AbortController();
  const { log, lines } = recordingLog();
  const told: WatchEvent[] = [];
  const puts: Json[] = [];
  let issued = 0;
  const api: Pick<KubeApi, 'get' | 'replace' | 'watch'> = {
    async get(path) {
      return path.includes('/pods/') ? POD : { metadata: { resourceVersion: '1' }, items: [] };
    },
    async replace(_, object) {
      puts.push(object);
      return write(fieldOf(object['metadata'], 'name'));
    },
    async watch(_, signal) {
      return (async function* () {
        for (;;) {
          signal.throwIfAborted();
          const next = told.shift();
          if (next !== undefined) yield next;
          else await setImmediate();
        }
      })();
    },
  };
  const ended = signPodCertificates({
    api,
    watch: { random: () => 0.5, metrics: createWatchMetrics(createMetrics()) },
    async certify() {
      issued++;
      const now = clock.now();
      return { pem: `certificate ${issued}`, notBefore: now - 2 * MINUTE, notAfter: now + 60 * MINUTE };
    },
    ...{ validityMs: 60 * MINUTE, clock, log, signal: stop.signal },
  });
  t.teardown(async () => {
    stop.abort();
    await ended;
  });
  return {
    clock,
    lines,
    async tell(type: WatchEvent['type'], object: Json) {
      told.push({ type, object });
      await clock.advance(0);
    },
    answers: () =>
      puts.map(({ metadata, status }) => [fieldOf(metadata, 'resourceVersion'), fieldOf(status, 'certificateChain')]),
    issued: () => issued,
  };
}

const fieldOf = (part: unknown, field: string) => String((part as Json)[field]);

t.test('a request that somebody touches before its answer is written gets that answer, and no other', async (t) => {
  let conflicts = 1;
  const { tell, answers, issued, clock } = rig(t, () => (conflicts-- > 0 ? undefined : {}));
  await tell('ADDED', asked('5'));
  t.same(answers(), [['5', 'certificate 1']]);
  await clock.advance(MINUTE);
  t.equal(answers().length, 1, 'a version that is no more is not written to again');
  await tell('MODIFIED', asked('6'));
  t.same(answers().at(-1), ['6', 'certificate 1']);
  await tell('MODIFIED', asked('7'));
  t.equal(issued(), 1, 'also when it is touched after that');

  await tell('DELETED', asked('7'));
  await tell('ADDED', asked('9', 'request-2'));
  t.same(answers().at(-1), ['9', 'certificate 2'], 'another of that name is answered for itself');
});

t.test('a request whose answer cannot be written waits longer and longer, and no other waits for it', async (t) => {
  const { tell, answers, clock, lines } = rig(t, (name) => {
    if (name === 'first') throw new SidelockError('SL-KUBE-002', 'no');
    return {};
  });
  await tell('ADDED', asked('5'));
  for (let i = 0; i < 60; i++) {
    await tell('ADDED', asked(`${10 + i}`, `request-${10 + i}`, `other-${i}`));
    t.equal(answers().at(-1)?.[0], `${10 + i}`, 'at once');
    await clock.advance(SECOND);
  }
  const tries = answers().filter(([version]) => version === '5').length;
  t.ok(tries > 3 && tries < 10, `${tries} tries in a minute, though it rings each second`);
  t.equal(lines.filter(({ event }) => event === 'pod_certificates_failed').length, 1, 'and told of once');
});

t.test('an answer that the API server takes no more, for it began too long ago, is made anew', async (t) => {
  let isThere = false;
  const { tell, answers, clock } = rig(t, () => {
    if (isThere) return {};
    throw new SidelockError('SL-KUBE-001', 'away');
  });
  await tell('ADDED', asked('5'));
  await clock.advance(2 * MINUTE);
  t.same([...new Set(answers().map(([, chain]) => chain))], ['certificate 1'], 'the same, however often it is tried');
  await clock.advance(2 * MINUTE);
  isThere = true;
  await clock.advance(30 * SECOND);
  t.same(answers().at(-1), ['5', 'certificate 2']);
});

t.test('a clock that is set back by an hour makes no request wait for an hour', async (t) => {
  let isThere = false;
  const { tell, answers, clock } = rig(t, () => {
    if (isThere) return {};
    throw new SidelockError('SL-KUBE-001', 'away');
  });
  await tell('ADDED', asked('5'));
  isThere = true;
  const before = answers().length;
  clock.jump(-HOUR);
  await tell('ADDED', asked('6', 'request-2', 'second'));
  await clock.advance(MINUTE);
  t.ok(answers().filter(([version]) => version === '5').length > before);
});
