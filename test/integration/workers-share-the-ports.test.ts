import { connect, createServer, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import type { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import type { PolicyAnswer } from '../../src/api/wire-sidecar.ts';
import { listen } from '../../src/base/listen.ts';
import type { SidecarLimits } from '../../src/sidecar/options.ts';
import { swap, type Trio, testAuthority } from '../support/identity-files.ts';
import { servedSerial } from '../support/load.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

t.test('two workers serve as one', async (t) => {
  const { orders, authority, threads, call, admin } = await start(t);
  const callers = await Promise.all(Array.from({ length: 16 }, () => call('web')));
  const strangers = await Promise.all(Array.from({ length: 12 }, () => call('other')));

  await t.test('what there is to see is that of both', async (t) => {
    const list = (await admin('/connections')) as Array<{ worker: number }>;
    t.equal(list.length, 28);
    t.strictSame([...new Set(list.map(({ worker }) => worker))].sort(), [1, 2], 'both have some');
    const { listeners } = (await admin('/policy')) as PolicyAnswer;
    t.match(listeners, [{ listener: 'in', policy: 'audit' }]);
    t.match(
      listeners[0]?.callers.toSorted((a, b) => b.connections - a.connections),
      [
        { id: /web$/, connections: 16, audited: 16 },
        { id: /other$/, connections: 12, audited: 0 },
      ],
    );
    t.equal(await orders.metric('sidelock_connections{'), 28, 'gauges are summed');
    t.equal(await orders.metric('sidelock_connections_total{'), 28, 'counters are summed');
    t.equal(await orders.metric('sidelock_handshake_duration_seconds_count{'), 28, 'histograms are summed');
    t.equal(await orders.metric('sidelock_policy_audit{'), 1, 'what is not a number of things is not');
    t.equal(await orders.metric('sidelock_workers '), 2);
    t.equal(orders.events('policy_audit').length, 1, 'what is so in each is logged once');
  });

  await t.test('a rotation reaches both', async (t) => {
    const next = authority.issue('orders');
    await swap(orders.directory, next);
    await orders.sidecar.renew();
    const probe = authority.issue('web');
    const served = () => Promise.all(Array.from({ length: 12 }, () => servedSerial(orders.mtls.port, probe)));
    await until(async () => (await served()).every((serial) => serial === next.serial));
    t.match(await admin('/identity'), { generation: 2, serial: next.serial });
    t.ok(await answers(callers), 'open connections stay');
  });

  await t.test('new rules reach both, and close what they deny', async (t) => {
    await t.rejects(orders.sidecar.setRules([{ name: 'in', allow: ['NOT'] }]), { code: 'SL-CFG-003' });
    const closed = callers.map(gone);
    t.equal(await orders.sidecar.setRules([{ name: 'in', allow: ['other'] }]), 16);
    await Promise.all(closed);
    t.ok(await answers(strangers), 'others stay');
    t.equal(
      await orders.metric('sidelock_connections_closed_total{direction="inbound",listener="in",reason="denied"}'),
      16,
    );
    await Promise.all(Array.from({ length: 8 }, async () => await t.rejects(call('web'))));
  });

  await t.test('a worker that dies is started again while the other serves', async (t) => {
    const before = (await admin('/connections')) as Array<{ worker: number; peer: { address: string } }>;
    const workerOf = (socket: Socket) =>
      before.find(({ peer }) => peer.address === `127.0.0.1:${socket.localPort}`)?.worker;
    const counted = await orders.metric('sidelock_connections_total{');
    const lost = strangers.filter((socket) => workerOf(socket) === 1).map(gone);
    const kept = strangers.filter((socket) => workerOf(socket) === 2);
    // Not an identity: an error that nobody expects.
    threads[0]?.postMessage({ is: 'identity', cert: '', key: '', ca: '', generation: 9, at: 0 });
    await Promise.all(lost);
    t.ok(await answers(kept), 'the other serves on');
    await until(() => threads.length === 3);
    t.match(orders.events('worker_ended'), [{ worker: 1, code: 'SL-WORK-001', err: { code: 'SL-PEM-001' } }]);
    t.equal(await orders.metric('sidelock_worker_restarts_total '), 1);
    t.ok((await orders.metric('sidelock_connections_total{')) >= counted, 'what it has counted is not forgotten');

    await until(async () => (await orders.metric('sidelock_workers ')) === 2);
    await Promise.all(Array.from({ length: 12 }, async () => await t.rejects(call('web'), 'the rules of now')));
    const others = await Promise.all(Array.from({ length: 16 }, () => call('other')));
    const list = (await admin('/connections')) as Array<{ worker: number; self: object }>;
    t.strictSame([...new Set(list.map(({ worker }) => worker))].sort(), [1, 2], 'it has connections again');
    t.ok(list.some(({ worker, self }) => worker === 1 && JSON.stringify(self).includes('"generation":2')));
    t.ok(await answers(others));
    for (const socket of others) socket.destroy();
  });

  await t.test('a stop lets what is open in both finish', async (t) => {
    for (const socket of strangers) socket.destroy();
    const open = await Promise.all(Array.from({ length: 12 }, () => call('other')));
    const stopped = orders.sidecar.shutdown();
    await t.rejects(call('other'), 'nobody new');
    t.ok(await answers(open));
    for (const socket of open) socket.end();
    t.equal(await stopped, true, 'nothing had to be reset');
    await until(() => threads.every(({ threadId }) => threadId === -1));
  });
});

t.test('a port that somebody has is not shared with him, and limits are divided', async (t) => {
  const taken = createServer();
  const { port } = await listen(taken, { host: '127.0.0.1', port: 0 }, 'the test');
  t.teardown(() => taken.close());
  await t.rejects(start(t, port), {
    code: 'SL-NET-001',
    message: `127.0.0.1:${port} for inbound "in" is in use`,
    why: new RegExp(`pid ${process.pid}`),
  });
  const { orders, plain, admin } = await start(t, 0, { limits: { maxConnections: 4 }, mode: 'permissive' });
  await t.rejects(start(t, orders.mtls.port), { code: 'SL-NET-001' }, 'nor with workers of another sidecar');
  const tried = await Promise.allSettled(Array.from({ length: 20 }, () => plain()));
  t.equal(tried.filter(({ status }) => status === 'fulfilled').length, 4, 'half of the limit in each');
  t.match(await admin('/plaintext'), {
    strict: [],
    permissive: [{ listener: 'in', callers: [{ address: '127.0.0.1', connections: 4 }], open: 4 }],
  });
});

async function start(
  t: Test,
  port = 0,
  { limits, mode = 'strict' }: { limits?: Partial<SidecarLimits>; mode?: 'strict' | 'permissive' } = {},
) {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const threads: Worker[] = [];
  const started = (worker: Worker) => threads.push(worker);
  process.on('worker', started);
  t.teardown(() => process.off('worker', started));
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target, listen: { host: '127.0.0.1', port }, allow: ['other'], policy: 'audit', mode },
    workers: 2,
    admin: true,
    limits: { drainMs: 60_000, ...limits },
  });
  const identities = new Map(['web', 'other'].map((service) => [service, authority.issue(service)]));
  return {
    orders,
    authority,
    threads,
    call: (service: string) => caller(t, orders.mtls.port, identities.get(service)),
    plain: () => echoed(t, connect(orders.mtls.port, '127.0.0.1')),
    admin: async (path: string): Promise<unknown> =>
      (await fetch(`http://127.0.0.1:${orders.sidecar.admin?.port}${path}`)).json(),
  };
}

function caller(t: Test, port: number, { cert, key, ca }: Partial<Trio> = {}): Promise<Socket> {
  return echoed(t, tlsConnect({ host: '127.0.0.1', port, cert, key, ca, checkServerIdentity: () => undefined }));
}

/** Resolves when the app has answered; rejects when the connection ends before. */
async function echoed(t: Test, socket: Socket): Promise<Socket> {
  t.teardown(() => socket.destroy());
  socket.on('error', () => {});
  await answer(socket);
  return socket;
}

function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

async function answers(sockets: readonly Socket[]): Promise<boolean> {
  await Promise.all(sockets.map(answer));
  return sockets.length > 0;
}

function answer(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('data', () => resolve());
    socket.once('close', () => reject(new Error('closed before an answer')));
    socket.write('ping');
  });
}
