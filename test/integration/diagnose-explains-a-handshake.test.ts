import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type TlsOptions, connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { listen } from '../../src/base/listen.ts';
import { explainTlsError } from '../../src/index.ts';
import { readIdentity } from '../../src/pki/material.ts';
import { type DiagnosisStep, diagnose } from '../../src/sidecar/diagnose.ts';
import type { HostPort } from '../../src/sidecar/options.ts';
import { DAY } from '../support/badcert.ts';
import { cli } from '../support/cli.ts';
import { type Trio, testAuthority } from '../support/identity-files.ts';
import { startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { echo, startApp } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const authority = testAuthority();
const other = testAuthority('Other-CA');
const web = readIdentity(authority.issue('web'), { now: Date.now() });

async function tlsServer(t: Test, { cert, key, ca }: Trio, more: TlsOptions = {}): Promise<HostPort> {
  const server = createTlsServer({ cert, key, ca, requestCert: true, ...more }, (socket) =>
    socket.on('error', () => {}),
  );
  server.on('tlsClientError', () => {});
  const { port } = await listen(server, ANY, 'a test');
  t.teardown(() => server.close());
  return { host: '127.0.0.1', port };
}

const plain = async (t: Test, answer: string): Promise<HostPort> => {
  const port = await startApp(t, (socket) => socket.once('data', () => socket.write(answer)));
  return { host: '127.0.0.1', port };
};

interface Row {
  readonly name: string;
  readonly at: (t: Test) => Promise<HostPort>;
  readonly expect?: readonly string[];
  readonly bare?: boolean;
  /** Of the first step that is not ok. */
  readonly step: DiagnosisStep['step'];
  readonly reason: string;
  readonly text: RegExp;
}

const good = authority.issue('orders');
const ROWS: readonly Row[] = [
  {
    name: 'a name that is none',
    at: async () => ({ host: 'nothing.invalid', port: 8443 }),
    step: 'dns',
    reason: 'dns',
    text: /does not resolve/,
  },
  {
    name: 'a closed port',
    at: async () => ({ host: '127.0.0.1', port: 1 }),
    step: 'tcp',
    reason: 'refused',
    text: /nothing listens there \(ECONNREFUSED\)/,
  },
  {
    name: 'a server in plaintext',
    at: (t) => plain(t, 'HTTP/1.1 400 Bad Request\r\n\r\n'),
    step: 'tls',
    reason: 'peer_not_tls',
    text: /answered in plaintext/,
  },
  {
    name: 'a server that says nothing',
    at: (t) => plain(t, ''),
    step: 'tls',
    reason: 'handshake_timeout',
    text: /did not finish the handshake in time/,
  },
  {
    name: 'TLS 1.2 only',
    at: (t) => tlsServer(t, good, { maxVersion: 'TLSv1.2' }),
    step: 'tls',
    reason: 'version_mismatch',
    text: /no TLS version in common/,
  },
  {
    name: 'another root',
    at: (t) => tlsServer(t, other.issue('orders')),
    step: 'server',
    reason: 'peer_unknown_ca',
    text: /Other-CA/,
  },
  {
    name: 'expired',
    at: (t) => tlsServer(t, authority.issue('orders', { notBefore: Date.now() - 9 * DAY, notAfter: Date.now() - DAY })),
    step: 'server',
    reason: 'peer_expired',
    text: /expired 1 d .*ago/,
  },
  {
    name: 'not yet valid: a clock',
    at: (t) => tlsServer(t, authority.issue('orders', { notBefore: Date.now() + DAY, notAfter: Date.now() + 9 * DAY })),
    step: 'server',
    reason: 'peer_not_yet_valid',
    text: /valid from .*our clock says/,
  },
  {
    name: 'another service',
    at: (t) => tlsServer(t, authority.issue('billing')),
    expect: ['orders'],
    step: 'server',
    reason: 'peer_wrong_identity',
    text: /it is spiffe:.*billing, expected spiffe:.*orders/,
  },
  {
    name: 'no client certificate demanded',
    at: (t) => tlsServer(t, good, { rejectUnauthorized: false }),
    step: 'policy',
    reason: 'not_demanded',
    text: /this is TLS, not mutual TLS/,
  },
  {
    name: 'our certificate refused without a word',
    at: (t) => tlsServer(t, { ...good, ca: other.root.pem }),
    step: 'policy',
    reason: 'closed_after_handshake',
    text: /hung up/,
  },
  {
    name: 'nothing of ours to show',
    at: (t) => tlsServer(t, good),
    bare: true,
    step: 'server',
    reason: '',
    text: /not judged/,
  },
];

t.test('each fault has its sentence', async (t) => {
  t.jobs = 4;
  for (const { name, at, expect, bare = false, step, reason, text } of ROWS) {
    t.test(name, async (t) => {
      const steps: DiagnosisStep[] = [];
      const place = { trustDomain: 'ai-teddy.local', namespace: 'default', clock: systemClock };
      const target = await at(t);
      const material = bare ? undefined : web;
      for await (const one of diagnose({ target, material, expect, timeoutMs: 700, ...place })) steps.push(one);
      const found = steps.find(({ state }) => state !== 'ok');
      t.match(found, { step, text }, JSON.stringify(steps));
      t.equal(found?.fault?.reason ?? '', reason);
      if (found?.fault !== undefined) t.match(found.fault, { code: /^SL-/, fix: String });
    });
  }
});

t.test('the command: as a sidecar that is allowed, and as one that is not', async (t) => {
  const rig = await startRig(t);
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const inbound = { name: 'in', listen: ANY, target, protocol: 'tcp', allow: ['web'] } as const;
  const orders = await startEnrolled(t, rig, 'orders', { inbound: [inbound] });
  for (const service of ['web', 'shop']) await startEnrolled(t, rig, service, { outbound: [] });
  const address = `127.0.0.1:${orders.mtls.port}`;
  const as = (service: string) => ['--identity', join(rig.storage, '..', service)];

  const [ok, denied] = await Promise.all([
    cli(['diagnose', address, ...as('web'), '--expect', 'orders']),
    cli(['diagnose', address, ...as('shop'), '-o', 'json']),
  ]);
  t.equal(ok.code, 0, ok.stderr);
  t.match(ok.stdout, /✔ tls {5}TLSv1\.3, .*X25519MLKEM768\n *ALPN sidelock\/1/);
  t.match(ok.stdout, /✔ server {2}spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/orders\n *serial [0-9a-f]+/);
  t.match(ok.stdout, /✔ policy {2}it demands a client certificate\n✔ policy {2}it accepts ours\n/);
  t.equal(denied.code, 1);
  t.match(JSON.parse(denied.stdout), {
    kind: 'Diagnosis',
    verdict: 'failed',
    fault: {
      reason: 'not_allowed',
      code: 'SL-AUTHZ-001',
      sentence: 'orders refused our certificate: its allow list does not name us',
    },
  });
  await until(() => orders.events('denied').length > 0);
});

t.test('explainTlsError: real errors of a program that does TLS itself', async (t) => {
  const failing = async (at: HostPort, more: object = {}): Promise<unknown> => {
    const socket = tlsConnect({
      ...at,
      ca: authority.root.pem,
      cert: web.certPem,
      key: web.keyPem,
      servername: 'orders.ai-teddy.local',
      ...more,
    });
    try {
      await once(socket, 'secureConnect');
      return (await once(socket.resume(), 'close'))[0];
    } catch (error) {
      return error;
    } finally {
      socket.destroy();
    }
  };
  const orders = await tlsServer(t, good);
  const gone = createServer();
  const { port: closed } = await listen(gone, ANY, 'a test');
  await new Promise((resolve) => gone.close(resolve));
  const rows: ReadonlyArray<readonly [error: unknown, reason: string]> = [
    [await failing(await tlsServer(t, other.issue('orders'))), 'peer_unknown_ca'],
    [
      await failing(await tlsServer(t, authority.issue('orders', { notAfter: Date.now() - DAY, notBefore: 0 }))),
      'peer_expired',
    ],
    [await failing(orders, { servername: 'billing' }), 'peer_wrong_identity'],
    [await failing(await plain(t, 'HTTP/1.1 400 Bad Request\r\n\r\n')), 'peer_not_tls'],
    [await fetch(`http://127.0.0.1:${closed}`).catch((error: unknown) => error), 'refused'],
    [await fetch(`https://127.0.0.1:${orders.port}`).catch((error: unknown) => error), 'peer_unknown_ca'],
    [new Error('something else'), 'undefined'],
  ];
  for (const [error, reason] of rows) t.equal(String(explainTlsError(error)?.reason), reason, String(error));
  t.match(explainTlsError(rows[0]?.[0]), { code: 'SL-TLS-003', sentence: String, fix: String });
});
