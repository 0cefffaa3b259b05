import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type ConnectionOptions, connect } from 'node:tls';
import t, { type Test } from 'tap';
import type { SidecarLimits } from '../../src/sidecar/options.ts';
import { dns, keyPem, makeCa, makeLeaf, rsaKeys, subjectAltName, uri } from '../support/badcert.ts';
import { spiffeIdOf, type Trio, testAuthority } from '../support/identity-files.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { tlsRecords } from '../support/tls-records.ts';
import { until } from '../support/until.ts';

/** threats.md 3, the rows of TLS: each attack while another caller is served, on an open connection and on new ones. */
async function start(t: Test, limits: Partial<SidecarLimits> = {}, app: (socket: Socket) => void = echo) {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port: await startApp(t, app) };
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target, allow: ['web', 'shop'] },
    limits,
  });
  const { port } = orders.mtls;
  const tcp = () => {
    const socket = connectTcp({ port, host: '127.0.0.1' });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    return socket;
  };
  const tls = (options: ConnectionOptions) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    return socket;
  };
  return { authority, orders, port, tcp, tls, victim: () => victim(tls(of(authority.issue('shop')))) };
}

const of = ({ cert, key, ca }: Trio): ConnectionOptions => ({ cert, key, ca });

/** A caller that asks again and again. */
async function victim(socket: Socket) {
  let answers = 0;
  let stopped = false;
  let longest = 0;
  const asking = (async () => {
    while (!stopped) {
      const asked = performance.now();
      socket.write('x');
      await once(socket, 'data');
      answers++;
      longest = Math.max(longest, performance.now() - asked);
      await delay(2);
    }
  })();
  await until(() => answers > 0);
  return {
    /** Fails, or waits for ever, when it lost its connection. */
    async stop(t: Test): Promise<void> {
      const before = answers;
      await until(() => answers > before + 2);
      stopped = true;
      await asking;
      socket.destroy();
      t.pass(`another caller was served throughout: ${answers} answers, the slowest after ${Math.round(longest)} ms`);
    },
  };
}

const failed = (reason: string) =>
  `sidelock_handshakes_total{direction="inbound",listener="in",result="failed",reason="${reason}"}`;
const refused = (reason: string) =>
  `sidelock_connections_refused_total{direction="inbound",listener="in",reason="${reason}"}`;

t.test('X19 half-open handshakes: 5,000 cost less than 100 MB and end when their time is over', async (t) => {
  const rig = await start(t, { handshakeTimeoutMs: 5_000 });
  const other = await rig.victim();
  const hello = await clientHello();
  const before = process.memoryUsage().rss;
  const attack = spawn(process.execPath, ['-e', HALF_OPEN, String(rig.port), hello.toString('hex')]);
  t.teardown(() => attack.kill());
  const words = attack.stdout.setEncoding('utf8');
  t.equal((await once(words, 'data'))[0], 'open');
  const grown = process.memoryUsage().rss - before;
  t.ok(grown < 100_000_000, `${grown >> 20} MiB more`);
  t.equal((await once(words, 'data'))[0], 'closed');
  const counted = await Promise.all(
    ['port_probe', 'handshake_timeout'].map((reason) => rig.orders.metric(failed(reason))),
  );
  const cut = await rig.orders.metric(refused('handshake_flood'));
  t.equal(counted[0], 2_500, 'who said nothing');
  t.equal((counted[1] ?? 0) + cut, 2_500, 'a byte of a hello, and whole ones');
  const lines = rig.orders.events('handshake_failed');
  // A refusal that goes on is said again after a while.
  t.ok(lines.length > 0 && lines.length < 10, `${lines.length} lines`);
  t.ok(
    lines.every(({ reason }) => reason === 'handshake_timeout'),
    'a port probe counts, and is not logged',
  );
  await other.stop(t);
});

/** 5,000 connections: of ten, five say nothing, three a byte of a ClientHello and two all of it. */
const HALF_OPEN = `
  const [port, hello] = process.argv.slice(1);
  let begun = 0, open = 0, closed = 0;
  function one() {
    const i = begun++;
    if (i >= 5000) return;
    const socket = require('node:net').connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    socket.on('connect', () => {
      if (i % 10 > 4) socket.write(Buffer.from(hello, 'hex').subarray(0, i % 10 > 7 ? undefined : 1));
      // Not so fast that the system drops what the sidecar has no time to accept, and asks again seconds later.
      setTimeout(one, 5);
      if (++open === 5000) setTimeout(() => process.stdout.write('open'), 1000);
    });
    socket.on('close', () => { if (++closed === 5000) process.stdout.write('closed'); });
    socket.resume();
  }
  for (let i = 0; i < 10; i++) one();
`;

t.test(
  'X20 handshakes that fail, by the hundred: their address is cut short, and open connections go on',
  async (t) => {
    // So few that a machine too busy for a hundred a second does not stay within them.
    const rig = await start(t, { failedHandshakesPerSecond: 5 });
    const other = await rig.victim();
    const stranger = testAuthority('Other-CA');
    const big = makeLeaf(stranger.root, { keys: rsaKeys(4096) });
    const cas = [stranger.root];
    for (let i = 0; i < 60; i++) cas.unshift(makeCa(cas[0]));
    const deep = { cert: [big, ...cas].map(({ pem }) => pem).join(''), key: keyPem(big) };
    for (let round = 0; round < 12; round++) {
      const calls = Array.from({ length: 25 }, (_, i) => rig.tls(i % 2 === 0 ? {} : deep));
      await Promise.all(calls.map((socket) => gone(socket.resume())));
    }
    const judged = await rig.orders.metric(
      'sidelock_handshakes_total{direction="inbound",listener="in",result="failed"',
    );
    const cut = await rig.orders.metric(refused('handshake_flood'));
    t.equal(judged + cut, 300);
    t.ok(judged < 250 && cut > 50, `${judged} handshakes were made, ${cut} were not`);
    t.match(rig.orders.events('handshake_flood')[0], { code: 'SL-LIMIT-004', listener: 'in', fix: String });
    t.ok(rig.orders.events('handshake_flood').length <= 5);
    await other.stop(t);
    // The budget fills again as time goes by.
    await until(async () => {
      const socket = rig.tls(of(rig.authority.issue('web')));
      socket.write('x');
      const answered = await Promise.race([
        new Promise<boolean>((resolve) => socket.once('data', () => resolve(true))),
        gone(socket).then(() => false),
      ]);
      socket.destroy();
      return answered;
    });
  },
);

t.test('X21, C85: who speaks TLS 1.2 gets an alert, so there is nothing to renegotiate', async (t) => {
  const rig = await start(t);
  const other = await rig.victim();
  for (const maxVersion of ['TLSv1.2', 'TLSv1.1'] as const) {
    const socket = rig.tls({
      ...of(rig.authority.issue('web')),
      minVersion: 'TLSv1',
      maxVersion,
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    const [error] = await new Promise<unknown[]>((resolve) => socket.once('error', (...found) => resolve(found)));
    t.match(error, { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' }, maxVersion);
  }
  await until(async () => (await rig.orders.metric(failed('version_mismatch'))) === 2);
  await other.stop(t);
});

t.test('X22 KeyUpdates, and records of nothing or of one byte: 10,000 of each', async (t) => {
  let bytes = 0;
  const rig = await start(t, {}, (socket) => {
    socket.on('data', (chunk: Buffer) => {
      if (!chunk.includes('x')) bytes += chunk.length;
      socket.write(chunk);
    });
  });
  // Each its own certificate: who floods is not let in again for a while.
  const caller = () => tlsRecords(t, rig.port, rig.authority.issue('web'));

  const updater = await caller();
  const other = await rig.victim();
  let sent = 0;
  for (; sent < 10_000 && !updater.over; sent += 10) {
    await updater.send(Buffer.concat(Array.from({ length: 10 }, () => updater.keyUpdate())));
    await turn();
  }
  if (!updater.over) await updater.send(updater.content(Buffer.from('k')));
  // Where all of them come within one look they are a flood, and their connection is cut.
  await until(() => bytes === 1 || rig.orders.events('records_flood').length === 1);
  t.pass(bytes === 1 ? 'KeyUpdates are what they are: keys, and what follows is read' : 'a flood is cut');
  await other.stop(t);

  // 54 kB over some looks: no flood, even where all of them came within one.
  const slow = await caller();
  const already = bytes;
  for (sent = 0; sent < 2_000; sent += 10) {
    await slow.send(Buffer.concat(Array.from({ length: 10 }, () => slow.keyUpdate())));
    await delay(15);
  }
  await slow.send(slow.content(Buffer.from('s')));
  await until(() => bytes === already + 1 || slow.over);
  t.notOk(slow.over, 'whose KeyUpdates are fewer than a flood is served');
  t.equal(bytes, already + 1, 'under the key that they led to');
  const before = bytes;

  const nothing = await caller();
  const second = await rig.victim();
  for (sent = 0; sent < 10_000 && !nothing.over; sent += 100) {
    await nothing.send(nothing.content(...Array.from({ length: 100 }, () => Buffer.alloc(0))));
    await turn();
  }
  await nothing.send(nothing.content(Buffer.from('n')));
  await until(() => nothing.over);
  t.equal(bytes, before, 'more than 32 records of nothing in a row end the connection');
  await second.stop(t);

  const tiny = await caller();
  for (sent = 0; sent < 10_000; sent += 100) {
    await tiny.send(tiny.content(...Array.from({ length: 100 }, () => Buffer.from('y'))));
  }
  await until(() => bytes - before === 10_000);
  t.pass('records of a byte are what they are: bytes, each of them delivered');
  await (await rig.victim()).stop(t);
});

t.test('X24 huge certificates and chains are refused after the handshake, one of 1 MB in it', async (t) => {
  const rig = await start(t);
  const other = await rig.victim();
  const names = Array.from({ length: 65 }, (_, i) => dns(`n${i}`));
  const me = uri(spiffeIdOf('web'));
  const { root } = rig.authority;
  const large = (bytes: number) => makeLeaf(root, { extensions: { san: subjectAltName(me, dns('a'.repeat(bytes))) } });
  const many = makeLeaf(root, { extensions: { san: subjectAltName(me, ...names) } });
  const cas = [root];
  for (let i = 0; i < 99; i++) cas.unshift(makeCa(cas[0]));
  const deep = makeLeaf(cas[0] ?? root);
  const rows = [
    { chain: [large(8_200)], reason: 'client_too_large' },
    { chain: [many], reason: 'client_too_many_names' },
    { chain: [deep, ...cas.slice(0, -1)], reason: 'client_chain_too_long' },
    { chain: [large(1_000_000)], reason: 'tls_error' },
  ];
  for (const { chain, reason } of rows) {
    const [leaf] = chain;
    if (leaf === undefined) continue;
    const socket = rig.tls({ cert: chain.map(({ pem }) => pem).join(''), key: keyPem(leaf) });
    await gone(socket.resume());
    await until(async () => (await rig.orders.metric(failed(reason))) === 1);
    t.pass(reason);
  }
  await other.stop(t);
});

t.test('X29 refusals in a flood: one line for each reason and caller', async (t) => {
  const rig = await start(t, { failedHandshakesPerSecond: 100_000 });
  const other = await rig.victim();
  const stranger = of(rig.authority.issue('stranger'));
  for (let round = 0; round < 8; round++) {
    await Promise.all(Array.from({ length: 25 }, (_, i) => gone(rig.tls(i % 2 === 0 ? {} : stranger).resume())));
  }
  await until(async () => (await rig.orders.metric(failed('client_no_certificate'))) === 104);
  t.equal(await rig.orders.metric('sidelock_authz_total{listener="in",result="denied"'), 96);
  t.equal(rig.orders.events('handshake_failed').length, 1);
  t.equal(rig.orders.events('denied').length, 1);
  await other.stop(t);
});

t.test('X17 connections of one caller: those beyond its share are refused, and others have room', async (t) => {
  const rig = await start(t, { maxConnections: 10, maxConnectionsPerCaller: 4 });
  const identity = rig.authority.issue('web');
  const kept = Array.from({ length: 4 }, () => rig.tls(of(identity)));
  for (const socket of kept) socket.write('x');
  await Promise.all(kept.map((socket) => once(socket, 'data')));
  for (let i = 0; i < 20; i++) await gone(rig.tls(of(identity)).resume());
  t.equal(await rig.orders.metric(refused('caller_limit')), 20);
  t.match(rig.orders.events('caller_limited'), [
    { code: 'SL-LIMIT-003', limit: 4, peer: { id: spiffeIdOf('web') }, fix: String },
  ]);
  await (await rig.victim()).stop(t);
  kept[0]?.end();
  await until(() => rig.orders.sidecar.connections().length === 3);
  const again = rig.tls(of(identity));
  again.write('x');
  await once(again, 'data');
  t.pass('one that ends makes room for one');
});

/** The first bytes of a client, as a server of TCP sees them. */
async function clientHello(): Promise<Buffer> {
  const { createServer } = await import('node:net');
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const socket = connect({
    port: address === null || typeof address === 'string' ? 0 : address.port,
    host: '127.0.0.1',
  });
  socket.on('error', () => {});
  const [peer] = await once(server, 'connection');
  const [hello] = await once(peer, 'data');
  peer.destroy();
  server.close();
  return hello;
}

function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.resume().once('close', () => resolve());
  });
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
