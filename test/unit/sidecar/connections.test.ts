import t from 'tap';
import { HOUR, MINUTE, SECOND } from '../../../src/base/clock.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { createConnections } from '../../../src/sidecar/connections.ts';
import { dataPlaneMetrics } from '../../../src/sidecar/metrics.ts';
import type { LinkKind } from '../../../src/sidecar/peer-link.ts';
import { createRefusals } from '../../../src/sidecar/refusals.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { recordingLog } from '../../support/identity-fakes.ts';

function rig(
  limits: {
    maxConnections?: number;
    maxLifetimeMs?: number;
    idleTimeoutMs?: number;
    maxDescriptors?: number;
    maxMemory?: number;
  } = {},
) {
  const clock = fakeClock();
  const metrics = createMetrics();
  const connections = createConnections(
    { maxConnections: 10, idleTimeoutMs: MINUTE, graceMs: HOUR, random: () => 0.5, ...limits },
    dataPlaneMetrics(metrics),
    clock,
  );
  /** One connection whose relay only records what is done to it. */
  const add = ({
    kind = 'own',
    notAfter,
    requests = false,
  }: {
    kind?: LinkKind;
    notAfter?: number;
    requests?: boolean;
  } = {}) => {
    const retired: number[] = [];
    const state = {
      active: false,
      resets: 0,
      retired,
      end: (_?: Error): void => {},
      received: { value: 0 },
      waiting: 0,
      shed: 0,
    };
    connections.admit();
    connections.add({
      direction: 'inbound',
      listener: 'in',
      kind,
      peer: { address: '127.0.0.1:1', id: 'spiffe://td/ns/a/sa/b', serial: '1' },
      self: { id: 'spiffe://td/ns/a/sa/c', serial: '2', generation: 1 },
      local: () => '127.0.0.1:2',
      tls: { version: 'TLSv1.3', cipher: 'x', group: undefined },
      notAfter,
      ...(requests ? { finish() {} } : {}),
      start(received, _sent, closed) {
        state.end = closed;
        state.received = received;
        return {
          takeActivity: () => state.active,
          waiting: () => state.waiting,
          shed() {
            const { shed } = state;
            state.shed = 0;
            return shed;
          },
          end: () => {},
          retire: (quietMs) => void retired.push(quietMs),
          reset: () => {
            state.resets++;
            closed(undefined);
          },
        };
      },
    });
    return state;
  };
  const closed = async (reason: string) => {
    const text = await metrics.render();
    const line = text
      .split('\n')
      .find((found) => found.includes('connections_closed_total{') && found.includes(`"${reason}"`));
    return line === undefined ? 0 : Number(line.split(' ')[1]);
  };
  return { clock, connections, metrics, add, closed };
}

t.test('an idle connection is reset at its limit, an active one is not', async (t) => {
  const { clock, connections, add, closed } = rig();
  const [idle, busy] = [add(), add()];
  busy.active = true;
  await clock.advance(MINUTE - SECOND);
  connections.sweep();
  t.equal(idle.resets, 0);
  await clock.advance(SECOND);
  connections.sweep();
  t.equal(idle.resets, 1);
  t.equal(busy.resets, 0);
  t.equal(await closed('idle'), 1);
});

t.test('a lifetime ends even a busy connection', async (t) => {
  const { clock, connections, add, closed } = rig({ maxLifetimeMs: 10 * SECOND });
  const busy = add();
  busy.active = true;
  await clock.advance(10 * SECOND);
  connections.sweep();
  t.equal(busy.resets, 1);
  t.equal(await closed('lifetime'), 1);
});

t.test('before its end a connection is asked to make room, and said to be quiet when it is', async (t) => {
  const { clock, connections, add, closed } = rig({ maxLifetimeMs: 100 * SECOND, idleTimeoutMs: HOUR });
  const [quiet, busy, requests] = [add(), add(), add({ requests: true })];
  busy.active = true;
  const pass = async (ms: number) => {
    await clock.advance(ms);
    connections.sweep();
  };
  await pass(84 * SECOND);
  t.strictSame(quiet.retired, []);
  await pass(SECOND);
  t.strictSame([quiet.retired, busy.retired, requests.retired], [[85 * SECOND], [0], [85 * SECOND]]);
  requests.end();
  quiet.end(new Error('its app did not like it'));
  t.equal(await closed('lifetime'), 2);
  await pass(15 * SECOND);
  t.equal(busy.resets, 1, 'what has no requests is broken off at the limit itself');
  t.equal(await closed('lifetime'), 3);
});

t.test('the end of a certificate is one too, with some grace; requests have it at the limit as well', async (t) => {
  const { clock, connections, add } = rig({ maxLifetimeMs: 100 * MINUTE, idleTimeoutMs: 9 * HOUR });
  const notAfter = clock.now() + 10 * MINUTE;
  const [short, other] = [add({ notAfter }), add({ requests: true })];
  const pass = async (ms: number) => {
    await clock.advance(ms);
    connections.sweep();
  };
  await pass(8 * MINUTE);
  t.equal(short.retired.length, 0);
  await pass(MINUTE);
  t.equal(short.retired.length, 1);
  t.equal(other.retired.length, 0);
  await pass(HOUR);
  t.equal(short.resets, 0);
  await pass(MINUTE);
  t.equal(short.resets, 1);
  await pass(89 * MINUTE);
  t.equal(other.resets, 0);
  await pass(MINUTE);
  t.equal(other.resets, 1);
});

t.test('the limit counts what is open or in its handshake', async (t) => {
  const { connections, add } = rig({ maxConnections: 2 });
  const first = add();
  t.equal(connections.admit(), undefined);
  t.equal(connections.admit(), 'limit');
  connections.dismiss();
  t.equal(connections.admit(), undefined);
  t.equal(connections.admit(), 'limit');
  first.end();
  t.equal(connections.admit(), undefined);
});

t.test('a connection needs two descriptors, a stream one', async (t) => {
  const { connections, add } = rig({ maxDescriptors: 4 });
  const first = add();
  t.equal(connections.admit(), undefined);
  t.equal(connections.admit(), 'descriptors');
  connections.dismiss();
  first.end();
  const streams = [add({ kind: 'shared' }), add({ kind: 'shared' }), add({ kind: 'shared' })];
  t.equal(connections.admit(), 'descriptors', 'one more could need two');
  for (const stream of streams) stream.end();
  t.equal(connections.admit(), undefined);
});

t.test(
  'memory is nearly gone: those that hold most of it for a slow reader are reset, no more than needed',
  async (t) => {
    const { connections, add, closed } = rig({ maxMemory: process.memoryUsage.rss() / 4 });
    const [light, heavy, heavier] = [add(), add(), add()];
    light.waiting = 1_000;
    heavy.waiting = 100_000;
    heavier.waiting = 2 ** 40;
    t.equal(connections.relieve(0), 1);
    t.same([light.resets, heavy.resets, heavier.resets], [0, 0, 1]);
    t.equal(await closed('memory'), 1);
    t.equal(connections.relieve(0), 1);
    t.equal(heavy.resets, 1);
    t.equal(connections.relieve(0), 0);
    const roomy = rig({ maxMemory: 2 ** 50 });
    roomy.add().waiting = 2 ** 40;
    t.equal(roomy.connections.relieve(0), 0);
  },
);

t.test('memory is nearly gone: spare buffers go first, and of a shared connection the streams that hold most', (t) => {
  const { connections, add } = rig({ maxMemory: process.memoryUsage.rss() / 4 });
  const one = add();
  one.waiting = 100_000;
  one.shed = 60_000;
  t.equal(connections.relieve(2 ** 50), 0, 'what nobody uses is enough');
  t.equal(connections.relieve(0), 1);
  t.same([one.resets, one.shed], [0, 0], 'streams alone');
  t.equal(connections.relieve(0), 1);
  t.equal(one.resets, 1, 'none of them holds much: the connection');
  t.end();
});

t.test('those of one kind are counted where they are', (t) => {
  const { connections, add } = rig();
  const [shared] = [add({ kind: 'shared' }), add(), add({ kind: 'shared' })];
  const seen = new Set<unknown>();
  const open = () =>
    connections.count((connection) => {
      seen.add(connection);
      return connection.kind === 'shared';
    });
  t.equal(open(), 2);
  t.equal(open(), 2);
  t.equal(seen.size, 3, 'none is copied for it');
  shared.end();
  t.equal(open(), 1);
  t.end();
});

t.test('bytes of live connections show at each scrape, once', async (t) => {
  const { connections, metrics, add } = rig();
  const series = 'sidelock_connection_bytes_total{direction="inbound",listener="in",way="rx"}';
  const one = add();
  for (const total of [100, 250]) {
    one.received.value = total;
    connections.report();
    t.match(await metrics.render(), `${series} ${total}`);
  }
  one.received.value = 300;
  one.end();
  t.match(await metrics.render(), `${series} 300`);
  t.equal(connections.list().length, 0);
});

t.test('a drain waits for the last one', async (t) => {
  const { connections, add } = rig();
  const one = add();
  const waiting = connections.drains.inbound.wait(AbortSignal.timeout(60_000));
  one.end(new Error('reset'));
  t.equal(await waiting, true);
  add();
  t.equal(await connections.drains.inbound.wait(AbortSignal.abort()), false);
});

t.test('a flood of one refusal is two lines: the first, and the count', async (t) => {
  const clock = fakeClock();
  const { log, lines } = recordingLog();
  const refusals = createRefusals(log, clock);
  for (let i = 0; i < 1_000; i++) refusals.warn('same', { event: 'denied' }, 'no');
  refusals.warn('other', { event: 'denied' }, 'no');
  t.equal(lines.length, 2);
  refusals.sweep();
  t.equal(lines.length, 2);
  await clock.advance(10 * SECOND);
  refusals.sweep();
  t.match(lines.slice(2), [{ event: 'denied', repeated: 999 }]);
  refusals.warn('same', { event: 'denied' }, 'no');
  t.equal(lines.length, 4, 'and a new window begins');
});

t.test('a million different refusals are bounded in memory and lose no count', async (t) => {
  const { log, lines } = recordingLog();
  const refusals = createRefusals(log, fakeClock());
  refusals.warn('first', {}, 'no');
  refusals.warn('first', {}, 'no');
  for (let i = 0; i < 1_000; i++) refusals.warn(`${i}`, {}, 'no');
  t.match(
    lines.filter((line) => line['repeated'] !== undefined),
    [{ repeated: 1 }],
  );
});
