import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type SecureVersion, connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { HOUR, MINUTE, systemClock } from '../../src/base/clock.ts';
import type { HostPort } from '../../src/sidecar/options.ts';
import { keyPem, makeCa, makeLeaf } from '../support/badcert.ts';
import { swap, type Trio, testAuthority } from '../support/identity-files.ts';
import { type Rig, shiftedClock, startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

type Credentials = Pick<Trio, 'cert' | 'key'>;

interface Called {
  readonly resumed: boolean;
  /** Undefined when the connection ended before an answer. */
  readonly answer: string | undefined;
  /** Of this session, for the next connection. */
  readonly ticket: Buffer | undefined;
  /** The same, without the name that Node notes beside it and goes by. */
  readonly bare: Buffer | undefined;
}

/** Calls an echo behind an inbound as a program does that keeps its tickets, whatever Node's own rules for them are. */
async function call(
  t: Test,
  { host, port }: HostPort,
  { cert, key }: Credentials,
  more: {
    ticket?: Buffer | undefined;
    servername?: string;
    version?: SecureVersion;
    open?: (socket: Socket) => void;
  } = {},
): Promise<Called> {
  const { ticket: session, version = 'TLSv1.3', servername = 'orders' } = more;
  const versions = { minVersion: version, maxVersion: version };
  const socket = tlsConnect({ host, port, cert, key, servername, session, ...versions, rejectUnauthorized: false });
  t.teardown(() => socket.destroy());
  let ticket: Buffer | undefined;
  let resumed = false;
  socket
    .on('error', () => {})
    .on('session', (fresh: Buffer) => {
      ticket = fresh;
    });
  socket.once('secureConnect', () => {
    resumed = socket.isSessionReused();
  });
  socket.write('ping');
  const answer = await new Promise<string | undefined>((resolve) => {
    socket.once('data', (bytes) => resolve(String(bytes)));
    socket.once('close', () => resolve(undefined));
  });
  const called = { resumed, answer, ticket, bare: socket.getSession() };
  if (more.open === undefined) socket.destroy();
  else more.open(socket);
  return called;
}

async function start(t: Test, { version = 'TLSv1.3', resumption = true, workers = 1, clock = systemClock } = {}) {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target, allow: ['web', 'shop'], resumption },
    minVersion: version === 'TLSv1.2' ? 'TLSv1.2' : 'TLSv1.3',
    admin: true,
    workers,
    clock,
  });
  return { authority, orders, resumed: () => orders.metric('sidelock_handshakes_resumed_total{direction="inbound"') };
}

for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
  t.test(`C81: without the switch nothing resumes; ${version}`, async (t) => {
    const { authority, orders } = await start(t, { version, resumption: false });
    const web = authority.issue('web');
    const { ticket, answer } = await call(t, orders.mtls, web, { version });
    t.equal(answer, 'ping');
    t.match(await call(t, orders.mtls, web, { version, ticket }), { resumed: false, answer: 'ping' });
  });

  t.test(`C77, C80: what a ticket is bound to; ${version}`, async (t) => {
    const { authority, orders, resumed } = await start(t, { version });
    const [web, shop] = [authority.issue('web'), authority.issue('shop')];
    const ticketOf = async (who: Credentials) => (await call(t, orders.mtls, who, { version })).ticket;
    const first = await ticketOf(web);
    let open: Socket | undefined;
    const again = await call(t, orders.mtls, web, { version, ticket: first, open: (socket) => (open = socket) });
    t.match(again, { resumed: true, answer: 'ping' });
    t.equal(await resumed(), 1);
    t.match(await (await fetch(`http://127.0.0.1:${orders.sidecar.admin?.port}/connections`)).json(), [
      { peer: { id: /web$/ }, tls: { version, resumed: true } },
    ]);
    t.equal(
      await orders.metric('sidelock_authz_total{listener="in",result="allowed"'),
      2,
      'a resumed connection was authorised as any other',
    );

    const named = { version, ticket: again.bare };
    t.match(await call(t, orders.mtls, web, named), { resumed: true, answer: 'ping' });
    t.match(
      await call(t, orders.mtls, web, { ...named, servername: 'other' }),
      { resumed: false, answer: 'ping' },
      'C80',
    );

    const ofShop = await ticketOf(shop);
    await orders.sidecar.setRules([{ name: 'in', allow: ['shop'] }]);
    t.match(await call(t, orders.mtls, web, { version, ticket: again.ticket }), { resumed: false, answer: undefined });
    t.match(await call(t, orders.mtls, shop, { version, ticket: ofShop }), { resumed: false, answer: 'ping' }, 'rules');
    await until(() => open?.destroyed === true);

    await orders.sidecar.setRules([{ name: 'in', allow: ['web', 'shop'] }]);
    const other = testAuthority('another CA');
    const both = `${authority.root.pem}${other.root.pem}`;
    const [under, stranger] = [authority.issue('web'), other.issue('web')];
    const tickets = [await ticketOf(under), await ticketOf(shop)];
    const own = authority.issue('orders');
    await swap(orders.directory, { ...own, ca: both });
    await orders.sidecar.renew();
    t.match(
      await call(t, orders.mtls, under, { version, ticket: tickets[0] }),
      { resumed: false, answer: 'ping' },
      'trust',
    );
    const [ofStranger, mine] = [await ticketOf(stranger), await ticketOf(under)];
    t.match(await call(t, orders.mtls, stranger, { version, ticket: ofStranger }), { resumed: true, answer: 'ping' });
    await swap(orders.directory, own);
    await orders.sidecar.renew();
    const removed = await call(t, orders.mtls, stranger, { version, ticket: ofStranger });
    t.match(removed, { resumed: false, answer: undefined }, 'C77: its CA was removed');
    t.match(orders.events('handshake_failed').at(-1), { reason: /^client_(unknown_ca|chain_incomplete)$/ });
    t.match(await call(t, orders.mtls, under, { version, ticket: mine }), { resumed: false, answer: 'ping' });

    const last = await ticketOf(under);
    await swap(orders.directory, authority.issue('orders'));
    await orders.sidecar.renew();
    t.match(
      await call(t, orders.mtls, under, { version, ticket: last }),
      { resumed: false, answer: 'ping' },
      'our leaf',
    );
  });

  t.test(`C79: a certificate that expired since does not come back by its ticket; ${version}`, async (t) => {
    const clock = shiftedClock();
    // A ticket is good until the hour is over.
    clock.shift(HOUR - (systemClock.now() % HOUR));
    const { authority, orders } = await start(t, { version, clock });
    const web = authority.issue('web', { notAfter: clock.now() + 20 * MINUTE });
    const { ticket } = await call(t, orders.mtls, web, { version });
    t.match(await call(t, orders.mtls, web, { version, ticket }), { resumed: true, answer: 'ping' });
    clock.shift(30 * MINUTE);
    const late = await call(t, orders.mtls, web, { version, ticket });
    t.match(late, { resumed: true, answer: undefined }, 'OpenSSL resumes it');
    t.match(orders.events('handshake_failed'), [{ reason: 'client_expired', code: 'SL-TLS-004' }]);
    clock.shift(HOUR);
    const other = authority.issue('web');
    t.equal((await call(t, orders.mtls, other, { version })).answer, 'ping');
    t.match(await call(t, orders.mtls, other, { version, ticket }), { resumed: false }, 'the next hour has other keys');
  });
}

t.test('C78: a certificate that was revoked since does not come back by its ticket', async (t) => {
  const rig = await startRig(t);
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const inbound = { name: 'in', listen: ANY, target, protocol: 'tcp', allow: 'any', resumption: true } as const;
  const orders = await startEnrolled(t, rig, 'orders', { inbound: [inbound] });
  const [web, shop] = [await enrolled(rig, 'web'), await enrolled(rig, 'shop')];
  const tickets = await Promise.all([web, shop].map(async (who) => (await call(t, orders.mtls, who)).ticket));
  t.match(await call(t, orders.mtls, web, { ticket: tickets[0] }), { resumed: true, answer: 'ping' });
  const [again] = await Promise.all([web, shop].map(async (who) => (await call(t, orders.mtls, who)).ticket));
  await rig.admin.revoke({ service: 'web', reason: 'keyCompromise' });
  await until(() => orders.events('crl_loaded').length > 1);
  t.match(await call(t, orders.mtls, web, { ticket: again }), { resumed: false, answer: undefined });
  t.match(orders.events('handshake_failed'), [{ reason: 'client_revoked' }]);
  t.match(await call(t, orders.mtls, shop, { ticket: tickets[1] }), { resumed: false, answer: 'ping' });
});

async function enrolled(rig: Rig, service: string): Promise<Credentials> {
  const { certPem: cert, keyPem: key } = await rig.enroll(service);
  return { cert, key };
}

t.test('a session has the leaf alone: what led to the root is remembered, as long as connections last', async (t) => {
  const { authority, orders } = await start(t);
  const issuer = makeCa(authority.root);
  const leaf = makeLeaf(issuer);
  const web = { cert: `${leaf.pem}${issuer.pem}`, key: keyPem(leaf) };
  const { ticket } = await call(t, orders.mtls, web);
  const open = Promise.withResolvers<Socket>();
  t.match(await call(t, orders.mtls, web, { ticket, open: open.resolve }), { resumed: true, answer: 'ping' });
  const own = authority.issue('orders');
  await swap(orders.directory, { ...own, ca: `${own.ca}${testAuthority('another CA').root.pem}` });
  await orders.sidecar.renew();
  const socket = await open.promise;
  const echoed = once(socket, 'data', { signal: AbortSignal.timeout(10_000) });
  socket.write('more');
  t.equal(String((await echoed)[0]), 'more', 'and it is judged again by all of it');
  t.equal(orders.events('peer_cut').length, 0);
});

t.test('a ticket of one worker is good with the other', async (t) => {
  const { authority, orders, resumed } = await start(t, { workers: 2 });
  const web = authority.issue('web');
  let { ticket } = await call(t, orders.mtls, web);
  for (let i = 0; i < 12; i++) {
    const next = await call(t, orders.mtls, web, { ticket });
    t.match(next, { resumed: true, answer: 'ping' });
    ticket = next.ticket ?? ticket;
  }
  t.equal(await resumed(), 12);
});

for (const protocol of ['tcp', 'http'] as const) {
  t.test(`an outbound resumes, and judges its peer each time; ${protocol}`, async (t) => {
    const clock = shiftedClock();
    const authority = testAuthority();
    const answer = (socket: Socket) =>
      socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok'));
    const target = { host: '127.0.0.1', port: await startApp(t, answer) };
    const more = { authority, protocol, streams: false } as const;
    const orders = await startNode(t, {
      ...more,
      service: 'orders',
      inbound: { target, allow: ['web'], resumption: true },
    });
    const web = await startNode(t, {
      ...more,
      service: 'web',
      clock,
      outbound: { service: 'orders', address: orders.mtls, resumption: true },
    });
    await swap(orders.directory, authority.issue('orders', { notAfter: systemClock.now() + 10 * MINUTE }));
    await orders.sidecar.renew();
    const get = async () => {
      const socket = connect(web.local).on('error', () => {});
      socket.write('GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n');
      let text = '';
      socket.on('data', (bytes) => {
        text += String(bytes);
      });
      await new Promise((resolve) => socket.once('close', resolve));
      return text.slice(0, 12);
    };
    const resumed = async () => [
      await orders.metric('sidelock_handshakes_resumed_total{direction="inbound"'),
      await web.metric('sidelock_handshakes_resumed_total{direction="outbound"'),
    ];
    for (let i = 0; i < 5; i++) t.equal(await get(), 'HTTP/1.1 200');
    const [count = 0] = await resumed();
    t.equal(count > 0, protocol === 'tcp', 'requests of HTTP share connections anyway');
    t.strictSame(await resumed(), [count, count]);

    if (protocol === 'http') return;
    await swap(web.directory, authority.issue('web'));
    await web.sidecar.renew();
    t.equal(await get(), 'HTTP/1.1 200');
    t.strictSame(await resumed(), [count, count], 'a new certificate of ours is shown');
    clock.shift(20 * MINUTE);
    t.equal(await get(), '', 'C79');
    t.match(web.events('handshake_failed'), [{ reason: 'peer_expired', code: 'SL-TLS-004' }]);
  });
}
