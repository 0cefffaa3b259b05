import { once } from 'node:events';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import type { NoticeReport } from '../../src/api/wire-news.ts';
import { MINUTE, SECOND, systemClock } from '../../src/base/clock.ts';
import type { HostPort, InboundOptions, OutboundOptions, SidecarOptions } from '../../src/sidecar/options.ts';
import { startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { echo, startApp } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const inbound = (port: number, allow: InboundOptions['allow']): InboundOptions => {
  return { name: 'in', listen: ANY, target: { host: '127.0.0.1', port }, protocol: 'tcp', allow };
};
const outbound = (address: HostPort): OutboundOptions => {
  return { name: 'out', listen: ANY, service: 'orders', address, protocol: 'tcp', expect: [] };
};

/** Calls until the connection ends, as it does when we are refused. */
async function refusedCall(t: Test, address: HostPort): Promise<void> {
  const socket = connect(address).on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.write('ping');
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve).once('end', resolve));
}

for (const streams of [true, false]) {
  t.test(`a caller that allow does not name reads so in its own log within seconds; streams ${streams}`, async (t) => {
    const rig = await startRig(t);
    const orders = await startEnrolled(t, rig, 'orders', {
      inbound: [inbound(await startApp(t, echo), ['shop'])],
      streams,
    });
    const more: Partial<SidecarOptions> = { outbound: [outbound(orders.mtls)], admin: ANY, streams };
    const [web, shop] = [await startEnrolled(t, rig, 'web', more), await startEnrolled(t, rig, 'shop', more)];
    const began = performance.now();
    await refusedCall(t, web.local);
    await until(() => web.events('refused_by_peer').length > 0);
    t.comment(`told ${Math.round(performance.now() - began)} ms after the call`);
    t.match(web.events('refused_by_peer'), [
      {
        msg: 'orders refused our certificate: its allow list does not name us',
        reason: 'not_allowed',
        code: 'SL-AUTHZ-001',
        direction: 'outbound',
        fix: String,
      },
    ]);
    t.match(
      await web.metrics.render(),
      /sidelock_refused_by_peer_total\{direction="outbound",reason="not_allowed"\} 1\n/,
    );
    const { host, port } = web.sidecar.admin ?? ANY;
    t.match(await (await fetch(`http://${host}:${port}/connections`)).json(), [
      {
        direction: 'outbound',
        peer: { id: 'spiffe://ai-teddy.local/ns/default/sa/orders' },
        self: { serial: web.sidecar.identity()?.serial },
        refused: { reason: 'not_allowed', why: 'its allow list does not name us' },
      },
    ]);

    const open = connect(shop.local).on('error', () => {});
    open.write('ping');
    await once(open, 'data');
    t.equal(shop.events('refused_by_peer').length, 0, 'whom it is not about hears nothing');
    await orders.sidecar.setRules([{ name: 'in', allow: ['web'], policy: 'enforce' }]);
    await until(() => shop.events('refused_by_peer').length > 0);
    t.match(shop.events('refused_by_peer'), [{ reason: 'not_allowed' }], 'new rules that end an open connection');
  });
}

t.test('a caller whose certificate expired, because renewals fail, is told so', async (t) => {
  const limits = { perLeaf: { burst: 0, perSecond: 0.001 } };
  const rig = await startRig(t, { certificates: { validityMs: 4 * SECOND }, limits });
  let orders: HostPort | undefined;
  const way = await startApp(t, (near) => {
    const far = connect(orders ?? ANY).on('error', () => {});
    near.on('data', (bytes) => far.write(bytes)).once('end', () => far.end());
    far.on('data', (bytes) => near.write(bytes)).once('close', () => near.destroy());
  });
  const web = await startEnrolled(t, rig, 'web', { outbound: [outbound({ host: '127.0.0.1', port: way })] });
  const { notAfter = 0 } = web.sidecar.identity() ?? {};
  await until(() => systemClock.now() >= notAfter);
  const port = await startApp(t, echo);
  orders = (await startEnrolled(t, rig, 'orders', { inbound: [inbound(port, ['web'])] })).mtls;
  await refusedCall(t, web.local);
  await until(() => web.events('refused_by_peer').length > 0);
  t.match(web.events('refused_by_peer'), [
    { msg: /^orders refused our certificate: expired \d+ s ago$/, reason: 'expired', code: 'SL-TLS-011' },
  ]);
});

t.test('what the manager takes, keeps and hands out', async (t) => {
  const rig = await startRig(t, { limits: { perReporter: { burst: 12, perSecond: 0 } } });
  const [orders, web, shop] = [await rig.enroll('orders'), await rig.enroll('web'), await rig.enroll('shop')];
  const { crl } = await rig.client(web).news({ crl: 0, notices: 0 });
  const list = crl?.number ?? 0;
  const about = ({ leaf }: typeof web, more: Partial<NoticeReport> = {}): NoticeReport => {
    const { serial, fingerprint256 } = leaf;
    return { serial, fingerprint256, role: 'client', reason: 'expired', at: rig.clock.now(), ...more };
  };
  const unread = (of: typeof web, notices = 0) => rig.manager.notices.read(of.leaf.fingerprint256, notices);

  const waiting = rig.client(web).news({ crl: list, notices: 0 });
  const other = rig.client(shop).news({ crl: list, notices: 0 });
  await rig.client(orders).notify([about(web)]);
  const { notices, crl: none } = await waiting;
  t.match(notices, [{ by: orders.spiffeId.uri, serial: web.leaf.serial, role: 'client', reason: 'expired' }]);
  t.equal(none, undefined, 'the list is not sent again');
  t.equal(unread(web, notices[0]?.seq).length, 0, 'read');

  const results = async () =>
    Object.fromEntries(
      [...(await rig.metrics.render()).matchAll(/sidelock_refusal_notices_total\{result="(\w+)"\} (\d+)/g)].map(
        ([, result, count]) => [result, Number(count)],
      ),
    );
  await rig.client(orders).notify([about(web)]);
  t.match(await results(), { kept: 1, repeated: 1 }, 'the same again within half a minute is not');
  await rig.client(orders).notify([about(web, { fingerprint256: 'ab'.repeat(32) })]);
  await rig.client(orders).notify([about(web, { serial: '0123' })]);
  t.match(await results(), { kept: 1, unknown: 2 }, 'only certificates of this manager');
  for (const reason of ['no_san', 'weak_key', 'bad_name', 'no_eku', 'wrong_eku', 'no_key_usage', 'revoked'] as const) {
    await rig.client(orders).notify([about(web, { reason })]);
  }
  await rig.client(shop).notify([about(web)]);
  t.match(await results(), { kept: 8, full: 1 }, 'eight for a certificate in half a minute');
  rig.clock.shift(MINUTE);
  await rig.client(shop).notify([about(web)]);
  t.match(await results(), { kept: 9 });
  t.equal(unread(web).length, 8, 'the oldest made room');

  // @ts-expect-error: what a foreign program may try
  const invented = about(web, { reason: 'call 555-0100' });
  await t.rejects(rig.client(shop).notify([invented]), { code: 'SL-API-001', why: /reason/ });
  await t.rejects(
    rig
      .client(orders)
      .notify([about(web)])
      .then(() => rig.client(orders).notify([about(web)])),
    {
      code: 'SL-API-003',
    },
  );
  const nobody = await fetch(`${rig.url}/v1/notices`).catch(() => undefined);
  t.equal(nobody, undefined, 'without trust in its root no connection');
  await t.rejects(async () => rig.manager.notices.report([], [about(web)]), { code: 'SL-API-002' });

  await rig.admin.revoke({ service: 'web', reason: 'keyCompromise' });
  await t.rejects(rig.client(web).notify([about(shop)]), { code: 'SL-API-002' }, 'a revoked leaf reports nobody');
  t.equal((await rig.client(web).news({ crl: 0, notices: 0 })).notices.length, 8, 'and may still read why');
  t.equal((await other).notices.length, 0, 'the other one heard of the new list, and of nobody else');
});
