import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { SERVICE_TYPES } from '../../src/pki/profiles.ts';
import { startRig } from '../support/manager/rig.ts';
import { requireProgram } from '../support/programs.ts';

const run = promisify(execFile);

async function generated(t: Test, overrides: Parameters<typeof startRig>[1] = {}) {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return undefined;
  const rig = await startRig(t, { certificates: { keyType: 'rsa-2048' }, ...overrides });
  const directories: string[] = [];
  for (const service of ['orders', 'billing']) {
    const { certificate } = await rig.admin.generate({ service, type: 'api_service', sans: [`${service}.internal`] });
    directories.push(certificate.directory ?? 'none');
  }
  const [orders = '', billing = ''] = directories;
  return { openssl, rig, orders, billing };
}

for (const issuer of [false, true]) {
  const how = issuer ? 'with an issuing tier' : 'signed by the root';
  const overrides = issuer ? { ca: { issuer }, certificates: { allowedSans: ['.internal'] } } : {};

  t.test(`the guide's openssl x509 and verify commands read the files, ${how}`, async (t) => {
    const given = await generated(t, overrides);
    if (given === undefined) return;
    const { openssl, orders } = given;
    const text = (await run(openssl, ['x509', '-in', join(orders, 'cert.pem'), '-text', '-noout'])).stdout;
    for (const part of [
      /Subject: CN ?= ?orders/,
      /Digital Signature/,
      /TLS Web Server Authentication, TLS Web Client Authentication/,
      /DNS:orders\.ai-teddy\.local/,
      /DNS:orders\.ai-teddy\.svc\.cluster\.local/,
      /DNS:orders\.default\.svc\.cluster\.local/,
      /DNS:orders\.internal/,
      /URI:spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/orders/,
    ]) {
      t.match(text, part);
    }
    const files = ['-CAfile', join(orders, 'ca.pem'), '-untrusted', join(orders, 'cert.pem'), join(orders, 'cert.pem')];
    t.match((await run(openssl, ['verify', '-x509_strict', ...files])).stdout, /cert\.pem: OK/);
    t.match((await run(openssl, ['verify', '-purpose', 'sslserver', ...files])).stdout, /OK/);
    t.match((await run(openssl, ['verify', '-purpose', 'sslclient', ...files])).stdout, /OK/);
  });

  t.test(`the guide's openssl s_client talks to another service with them, ${how}`, async (t) => {
    const given = await generated(t, overrides);
    if (given === undefined) return;
    const { openssl, rig, billing } = given;
    const held = await rig.manager.store.load('orders');
    const server = createServer(
      {
        cert: held?.certificate,
        key: held?.privateKey,
        ca: held?.caCertificate,
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.3',
      },
      (socket: TLSSocket) => socket.end(`hello ${socket.getPeerX509Certificate()?.subjectAltName}\n`),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => server.close());
    const { port } = server.address() as AddressInfo;
    const client = spawn(openssl, [
      's_client',
      ...['-connect', `127.0.0.1:${port}`, '-verify_return_error', '-verify_hostname', 'orders.ai-teddy.local'],
      ...['-cert', join(billing, 'cert.pem'), '-key', join(billing, 'key.pem'), '-CAfile', join(billing, 'ca.pem')],
      // s_client sends the first certificate of -cert only.
      ...(issuer ? ['-cert_chain', join(billing, 'cert.pem')] : []),
    ]);
    let out = '';
    client.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    const [code] = await once(client, 'close');
    t.equal(code, 0, out.slice(-500));
    t.match(out, /Verification: OK/);
    t.match(out, /hello .*URI:spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/billing/);
  });
}

t.test('the plain verify of the guide, without -untrusted, works where the root signs', async (t) => {
  const given = await generated(t);
  if (given === undefined) return;
  const { openssl, orders } = given;
  const { stdout } = await run(openssl, ['verify', '-CAfile', join(orders, 'ca.pem'), join(orders, 'cert.pem')]);
  t.match(stdout, /OK/);
});

t.test('key and certificate belong together, and only the key is private', async (t) => {
  const given = await generated(t);
  if (given === undefined) return;
  const { openssl, orders } = given;
  const ofKey = await run(openssl, ['pkey', '-in', join(orders, 'key.pem'), '-pubout']);
  const ofCert = await run(openssl, ['x509', '-in', join(orders, 'cert.pem'), '-noout', '-pubkey']);
  t.equal(ofKey.stdout, ofCert.stdout);
  t.equal((await stat(join(orders, 'key.pem'))).mode & 0o777, 0o600);
  t.equal((await stat(join(orders, 'cert.pem'))).mode & 0o777, 0o644);
  t.equal((await stat(join(orders, 'ca.pem'))).mode & 0o777, 0o644);
});

t.test('every service type and key type gives files that openssl verifies', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  for (const keyType of ['ecdsa-p256', 'ecdsa-p384', 'ed25519', 'rsa-3072'] as const) {
    const rig = await startRig(t, { certificates: { keyType } });
    for (const type of SERVICE_TYPES) {
      const service = type.replace('_', '-');
      const { certificate } = await rig.admin.generate({ service, type });
      const at = join(certificate.directory ?? '', 'cert.pem');
      const { stdout } = await run(openssl, ['verify', '-x509_strict', '-CAfile', at.replace('cert', 'ca'), at]);
      t.match(stdout, /OK/, `${type} ${keyType}`);
    }
  }
});
