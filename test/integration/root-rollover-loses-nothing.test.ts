import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { issueLeaf } from '../../src/pki/issue.ts';
import { generateKey, privateKeyFromPem, privateKeyToPem } from '../../src/pki/keys.ts';
import { pemEncode } from '../../src/pki/pem.ts';
import type { HostPort } from '../../src/sidecar/options.ts';
import { startLoad } from '../support/load.ts';
import { startRig } from '../support/manager/rig.ts';
import { startEnrolled } from '../support/manager/sidecar.ts';
import { echo, startApp } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const ANY: HostPort = { host: '127.0.0.1', port: 0 };

/** Requests that must be answered between two steps, so that load runs through each of them. */
const SEEN = 30;

for (const streams of [true, false]) {
  t.test(`a root follows another under load: no request fails; streams ${streams}`, async (t) => {
    const rig = await startRig(t);
    const { admin } = rig;
    const app = createServer({ keepAliveTimeout: 0 }, (_, response) => response.end('ok'));
    const target = { host: '127.0.0.1', port: (await listen(app, ANY, 'the app')).port };
    t.teardown(() => {
      app.close();
      app.closeAllConnections();
    });
    const echoing = { host: '127.0.0.1', port: await startApp(t, echo) };
    const inbound = (protocol: 'http' | 'tcp', to: HostPort) => ({
      inbound: [{ name: 'in', listen: ANY, target: to, protocol, allow: 'any' as const }],
      streams,
    });
    const orders = await startEnrolled(t, rig, 'orders', inbound('http', target));
    const pay = await startEnrolled(t, rig, 'pay', inbound('tcp', echoing));
    const outbound = (service: string, protocol: 'http' | 'tcp', { sidecar }: typeof orders) => ({
      outbound: [
        {
          ...{ name: 'out', listen: ANY, service, protocol, expect: [] },
          address: { host: '127.0.0.1', port: sidecar.inbound[0]?.address.port ?? 0 },
        },
      ],
      streams,
    });
    const web = await startEnrolled(t, rig, 'web', outbound('orders', 'http', orders));
    const shop = await startEnrolled(t, rig, 'shop', outbound('pay', 'tcp', pay));
    const all = [orders, pay, web, shop];
    await rig.manager.initializeServiceCertificate({ serviceName: 'db', serviceType: 'database' });
    const first = rig.manager.trustBundle().roots[0]?.fingerprint256;

    const load = startLoad(web.sidecar.outbound[0]?.address.port ?? 0, { keepAlive: 4, fresh: 2 });
    const loaded = async () => {
      const before = load.answered();
      await until(() => load.answered() > before + SEEN);
    };
    const dialled = () => connect({ host: '127.0.0.1', port: shop.sidecar.outbound[0]?.address.port ?? 0 });
    const pong = async (socket: ReturnType<typeof dialled>) => {
      socket.write('ping');
      return String((await once(socket, 'data', { signal: AbortSignal.timeout(30_000) }))[0]);
    };
    const old = dialled();
    t.teardown(() => old.destroy());
    t.equal(await pong(old), 'ping');
    await loaded();

    const staged = await admin.trustStep({ step: 'stage' });
    t.match(staged, { phase: 'staged', roots: [{ state: 'signs' }, { state: 'next', subject: 'CN=AI-Teddy-CA (2)' }] });
    await t.rejects(admin.trustStep({ step: 'retire' }), { code: 'SL-TRUST-002' }, 'out of turn');
    await until(async () => (await admin.trustStatus()).lacking.length === 0);
    for (const { sidecar } of all) t.equal(sidecar.identity()?.material.bundle.roots.length, 2, 'both roots are there');
    const held = await rig.manager.store.load('db');
    t.equal(held?.caCertificate.toString(), rig.manager.trustBundle().pem, 'also beside files that the manager keeps');
    await loaded();

    const before = all.map(({ sidecar }) => sidecar.identity()?.serial);
    await admin.trustStep({ step: 'activate' });
    await t.rejects(
      admin.trustStep({ step: 'retire' }),
      { code: 'SL-TRUST-001', why: /confirmed|old root/ },
      'at once: too early',
    );
    await until(() => all.every(({ sidecar }, i) => sidecar.identity()?.serial !== before[i]));
    await loaded();
    t.equal(await pong(old), 'ping', 'a connection from before all this works');
    await until(async () => {
      const { lacking } = await admin.trustStatus();
      return lacking.every(({ service }) => ['pay', 'shop', 'db'].includes(service));
    });
    const waiting = (await admin.trustStatus()).lacking;
    t.match(
      waiting.find(({ service }) => service === 'pay'),
      { why: /1 open connections made under the old root/ },
      'it stands against the end of the old root',
    );
    const ended = once(old, 'close');
    old.end();
    await ended;
    rig.clock.shift(130_000);
    await until(async () => (await admin.trustStatus()).lacking.length === 0);

    const dry = await admin.trustStep({ step: 'retire', dryRun: true });
    t.match(dry, { phase: 'active', lacking: [] }, 'a dry run changes nothing');
    await admin.trustStep({ step: 'retire' });
    await until(() => all.every(({ sidecar }) => sidecar.identity()?.material.bundle.roots.length === 1));
    for (const { sidecar } of all) t.not(sidecar.identity()?.material.bundle.roots[0]?.fingerprint256, first);
    await loaded();
    const fresh = dialled();
    t.equal(await pong(fresh), 'ping');
    fresh.destroy();

    const { requests, failures } = await load.stop();
    t.same(failures, [], `${requests} requests, none failed`);
    for (const { events } of all) t.same([...events('peer_cut'), ...events('handshake_failed')], []);
    const renewed = await rig.manager.store.load('db');
    t.equal(renewed?.caCertificate.toString(), rig.manager.trustBundle().pem);
    t.match(await rig.metrics.render(), /sidelock_trust_generation 4\n/);
  });
}

t.test('F24 the key is stolen: what it forged is cut off and refused, and those on record call on', async (t) => {
  const rig = await startRig(t);
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const inbound = [{ name: 'in', listen: ANY, target, protocol: 'tcp', allow: 'any' } as const];
  const orders = await startEnrolled(t, rig, 'orders', { inbound });
  const address = { host: '127.0.0.1', port: orders.sidecar.inbound[0]?.address.port ?? 0 };
  const out = { name: 'out', listen: ANY, service: 'orders', address, protocol: 'tcp', expect: [] } as const;
  const web = await startEnrolled(t, rig, 'web', { outbound: [out] });
  const call = async () => {
    const socket = connect({ host: '127.0.0.1', port: web.sidecar.outbound[0]?.address.port ?? 0 });
    socket.write('ping');
    const [data] = await once(socket, 'data', { signal: AbortSignal.timeout(30_000) });
    socket.destroy();
    return String(data);
  };

  const key = await generateKey('ecdsa-p256');
  const ca = join(rig.storage, '.sidelock/ca');
  const [certificate] = certificatesFromPem(await readFile(join(ca, 'root.crt')), 'root.crt');
  if (certificate === undefined) throw new TypeError('a root was expected');
  const forged = issueLeaf({
    signer: { certificate, key: privateKeyFromPem(await readFile(join(ca, 'root.key')), 'root.key') },
    publicKey: createPublicKey(key),
    spiffeId: 'spiffe://ai-teddy.local/ns/default/sa/web',
    sans: [],
    validityMs: 3_600_000,
    now: rig.clock.now(),
  });
  const intrude = () => {
    const cert = pemEncode('CERTIFICATE', forged.der);
    const socket = tlsConnect({ ...address, cert, key: privateKeyToPem(key), rejectUnauthorized: false });
    t.teardown(() => socket.destroy());
    return socket.on('error', () => {});
  };
  const intruder = intrude();
  intruder.write('let me in');
  t.equal(String((await once(intruder, 'data'))[0]), 'let me in', 'nobody can tell it from web');
  t.equal(await call(), 'ping');

  const cut = new Promise((resolve) => intruder.once('close', resolve));
  const began = performance.now();
  await rig.admin.trustStep({ step: 'compromise' });
  let calls = 0;
  while ((await rig.admin.trustStatus()).phase !== 'steady') {
    t.equal(await call(), 'ping');
    calls++;
  }
  await cut;
  t.comment(
    `${calls} calls meanwhile; the old root was gone ${Math.round(performance.now() - began)} ms after the word`,
  );
  t.match(orders.events('peer_cut'), [{ reason: /unknown_ca|chain_incomplete/ }]);
  await until(() => orders.sidecar.identity()?.material.bundle.roots.length === 1);
  const again = intrude();
  await new Promise((resolve) => again.once('close', resolve));
  t.equal(await call(), 'ping');
});
