import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { DEFAULT_LIMITS, type SidecarOptions } from '../../src/sidecar/options.ts';
import { startNetwork } from '../support/faults/cut.ts';
import { startSteady } from '../support/faults/steady.ts';
import { startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { startEchoApp, startMixedApp } from '../support/mixed-load.ts';
import { until } from '../support/until.ts';

t.test('F22 sidecars are cut off from their manager, then from each other', async (t) => {
  const rig = await startRig(t);
  const toManager = await startNetwork(t, Number(new URL(rig.url).port));
  const enrolled = async (service: string, more: Partial<SidecarOptions>) => {
    const { token } = await rig.manager.tokens.create({ service });
    return startEnrolled(t, rig, service, {
      ...more,
      identity: {
        source: 'manager',
        service,
        directory: join(rig.storage, '..', service),
        keyType: 'ecdsa-p256',
        token: async () => token,
        address: `https://localhost:${toManager.port}`,
        requestTimeoutMs: 1_000,
      },
    });
  };
  const app = async (port: Promise<number>) => ({ host: '127.0.0.1', port: await port });
  const orders = await enrolled('orders', {
    inbound: [
      { name: 'http', listen: ANY, target: await app(startMixedApp(t)), protocol: 'http', allow: ['web'] },
      { name: 'tcp', listen: ANY, target: await app(startEchoApp(t)), protocol: 'tcp', allow: ['web'] },
    ],
  });
  const networks = await Promise.all(orders.sidecar.inbound.map(({ address }) => startNetwork(t, address.port)));
  const [toHttp, toTcp] = networks;
  const outbound = { listen: ANY, service: 'orders', expect: [] };
  const web = await enrolled('web', {
    outbound: [
      { ...outbound, name: 'http', address: { host: '127.0.0.1', port: toHttp?.port ?? 0 }, protocol: 'http' },
      { ...outbound, name: 'tcp', address: { host: '127.0.0.1', port: toTcp?.port ?? 0 }, protocol: 'tcp' },
    ],
    limits: { ...DEFAULT_LIMITS, drainMs: 200, http: { requestTimeoutMs: 1_000 } },
  });
  const [httpOut, tcpOut] = web.sidecar.outbound.map(({ address }) => address.port);
  const renewed = async (one: typeof web) => {
    const before = one.sidecar.identity()?.serial;
    await one.sidecar.renew().catch(() => {});
    return one.sidecar.identity()?.serial !== before;
  };
  const steady = await startSteady({ http: httpOut ?? 0, tcp: tcpOut ?? 0 });
  t.teardown(() => steady.stop());
  await steady.baseline();

  for (const way of ['both', 'back'] as const) {
    steady.phase(`no manager, ${way}`);
    toManager.cut(way);
    t.same(await Promise.all([orders, web].map(renewed)), [false, false]);
    await delay(1_000);
    t.match(await web.metrics.render(), /^x509_crl_next_update \d/m, 'how old the revocation list is can be seen');
    t.ok(
      web.events('renewal_failed').length + web.events('renew_failed').length > 0,
      'and why nothing new comes, read',
    );
    toManager.cut('none');
    await until(async () => (await Promise.all([orders, web].map(renewed))).every((one) => one));
  }
  const { lost, report } = await steady.stop();
  t.same(lost, [], 'without a manager traffic lost nothing');
  t.comment(report);

  const ask = async () => (await fetch(`http://127.0.0.1:${httpOut}/`)).status;
  for (const way of ['both', 'back'] as const) {
    for (const network of networks) network.cut(way);
    const told = await Promise.all(Array.from({ length: 5 }, ask));
    t.ok(
      told.every((status) => status === 503 || status === 504),
      `peers cut off ${way}: callers are told in time: ${told}`,
    );
    t.equal(await renewed(web), true, 'certificates come all the same');
    for (const network of networks) network.cut('none');
    await until(async () => (await ask()) === 200);
    t.pass('and it heals by itself');
  }
});
