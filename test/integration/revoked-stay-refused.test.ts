import { once } from 'node:events';
import { rename, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DAY, MINUTE, systemClock } from '../../src/base/clock.ts';
import { parseCertificate } from '../../src/pki/certificate.ts';
import { createCrl } from '../../src/pki/crl-build.ts';
import type { RevocationOptions } from '../../src/sidecar/options.ts';
import { swap, type TestAuthority, testAuthority } from '../support/identity-files.ts';
import { shiftedClock, startRig, temporaryDirectory } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

/** True when the app answers, false when the connection ends first. */
async function reaches(t: Test, port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.write('ping');
  return await new Promise((resolve) => {
    socket.once('close', () => resolve(false));
    socket.once('data', () => {
      resolve(true);
      socket.destroy();
    });
  });
}

for (const workers of [1, 2]) {
  t.test(`a sidecar that starts while its manager is away refuses the revoked; workers ${workers}`, async (t) => {
    const rig = await startRig(t);
    const target = { host: '127.0.0.1', port: await startApp(t, echo) };
    const inbound = { name: 'in', listen: ANY, target, protocol: 'tcp', allow: 'any' } as const;
    const first = await startEnrolled(t, rig, 'orders', { inbound: [inbound], workers });
    const callers = await Promise.all(
      ['web', 'shop'].map((service) => {
        const out = { name: 'out', listen: ANY, service: 'orders', protocol: 'tcp', expect: [] } as const;
        return startEnrolled(t, rig, service, { outbound: [{ ...out, address: first.mtls }], streams: false });
      }),
    );
    const [web, shop] = callers.map(({ local }) => local.port);
    t.equal(await reaches(t, web ?? 0), true);
    await rig.admin.revoke({ service: 'web', reason: 'keyCompromise' });
    await until(() => first.events('crl_loaded').length > 1);
    await first.sidecar.shutdown();
    await rig.api[Symbol.asyncDispose]();

    const listen = { host: '127.0.0.1', port: first.mtls.port };
    const again = await startEnrolled(
      t,
      { ...rig, manager: { ...rig.manager, tokens: { ...rig.manager.tokens, create: async () => NO_TOKEN } } },
      'orders',
      { inbound: [{ ...inbound, listen }], workers },
    );
    t.equal(await reaches(t, web ?? 0), false);
    await until(() => again.events('handshake_failed').length > 0);
    t.match(again.events('handshake_failed').at(-1), { reason: 'client_revoked' });
    t.equal(await reaches(t, shop ?? 0), true, 'and nobody else');
    t.match(await again.metrics.render(), /^sidelock_crl_revoked 1$[\s\S]*^x509_crl_next_update \d+/m);
  });
}

const NO_TOKEN = { token: 'none', id: '', expiresAt: 0 };

async function crlOf({ root }: TestAuthority, number: number, serials: readonly string[], age = 0): Promise<string> {
  const now = Date.now() - age;
  const entries = new Map(serials.map((serial) => [serial, { reason: 'keyCompromise' as const, at: now }]));
  const signer = { certificate: parseCertificate(root.der), key: root.key };
  return (await createCrl({ signer, number, now, nextUpdate: now + DAY, entries })).pem;
}

async function startFiles(t: Test, revocation: Omit<RevocationOptions, 'file'>, clock = systemClock) {
  const authority = testAuthority();
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'crl.pem');
  const put = async (text: string) => {
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file);
  };
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const start = () =>
    startNode(t, {
      service: 'orders',
      authority,
      inbound: { target, allow: 'any' },
      revocation: { file, ...revocation },
      clock,
    });
  const caller = async (address: { host: string; port: number }) => {
    const web = await startNode(t, {
      service: 'web',
      authority,
      outbound: { service: 'orders', address },
      streams: false,
    });
    return { web, serial: web.sidecar.identity()?.serial ?? '' };
  };
  return { authority, file, put, start, caller };
}

t.test('lists in a file are followed; none that is empty, damaged or older takes a revocation back', async (t) => {
  const keep = await temporaryDirectory(t);
  const { authority, put, start, caller } = await startFiles(t, { keep });
  const orders = await start();
  const { web, serial } = await caller(orders.mtls);
  t.match(orders.events('crl_failed'), [{ code: 'SL-FS-001' }], 'it may come later');
  t.equal(await reaches(t, web.local.port), true, 'without a list nobody is revoked');
  await put(await crlOf(authority, 7, [serial]));
  await until(() => orders.events('crl_loaded').length === 1);
  t.equal(await reaches(t, web.local.port), false);

  const bad: ReadonlyArray<readonly [string, string]> = [
    ['', 'empty'],
    ['-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n', 'malformed'],
    [await crlOf(authority, 6, []), 'older'],
    [await crlOf(testAuthority('Stranger'), 99, []), 'wrong_issuer'],
  ];
  for (const [text, reason] of bad) {
    await put(text);
    await until(() => orders.events('crl_failed').at(-1)?.['reason'] === reason);
    t.equal(await reaches(t, web.local.port), false, reason);
  }
  await orders.sidecar.shutdown();

  await put(await crlOf(authority, 6, []));
  const again = await start();
  t.match(again.events('crl_failed'), [{ reason: 'older', why: /number 7 was already seen/ }], 'also after a restart');
  const second = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: again.mtls },
    streams: false,
  });
  const other = second.sidecar.identity()?.serial ?? '';
  t.equal(await reaches(t, second.local.port), true);
  await put(await crlOf(authority, 8, [serial, other]));
  await until(() => again.events('crl_loaded').length === 1);
  t.equal(await reaches(t, second.local.port), false);
  t.equal(await again.metric('sidelock_crl_number'), 8);
});

t.test('a list out of date: told once, still in force; with onStaleCrl fail nobody new is let in', async (t) => {
  for (const onStaleCrl of ['warn', 'fail'] as const) {
    const clock = shiftedClock();
    const { authority, put, start, caller } = await startFiles(t, { onStaleCrl }, clock);
    await put(await crlOf(authority, 3, ['1234']));
    const orders = await start();
    const { web } = await caller(orders.mtls);
    t.equal(await reaches(t, web.local.port), true);
    const open = connect(web.local.port, '127.0.0.1').on('error', () => {});
    open.write('x');
    await once(open, 'data');

    clock.shift(DAY + MINUTE);
    await until(() => orders.events('crl_stale').length > 0);
    t.equal(await reaches(t, web.local.port), onStaleCrl === 'warn');
    if (onStaleCrl === 'fail') {
      await until(() => orders.events('handshake_failed').length > 0);
      t.match(orders.events('handshake_failed').at(-1), { reason: 'client_crl_stale', code: 'SL-TLS-013' });
    }
    await swap(orders.directory, authority.issue('orders'));
    await until(() => orders.sidecar.identity()?.generation === 2);
    open.write('y');
    await once(open, 'data');
    t.pass('what is open stays');
    open.destroy();
    await put(await crlOf(authority, 4, [], -DAY));
    await until(() => orders.events('crl_fresh').length > 0 || orders.events('crl_loaded').length === 2);
    t.equal(await reaches(t, web.local.port), true, 'a fresh list ends it');
    t.equal(orders.events('crl_stale').length, 1);
  }
});
