import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cli, shortDirectory, startProgram } from '../support/cli.ts';
import { mutualHandshake } from '../support/handshake.ts';
import { requireProgram } from '../support/programs.ts';

interface Device {
  readonly certificate: string;
  readonly private_key: string;
  readonly ca_certificate: string;
}

t.test('devices get EC certificates from an issuer of their own, in the forms that firmware takes', async (t) => {
  const directory = shortDirectory(t);
  const storage = join(directory, 'pki');
  const env = { MTLS_CA_KEY_SIZE: '2048', MTLS_STORAGE_PATH: storage };
  const create = (...args: string[]) => cli(['device', 'create', ...args], { env });

  const { code, stdout } = await create('teddy-bear-001');
  t.equal(code, 0);
  const device = JSON.parse(stdout) as Device;
  t.strictSame(Object.keys(device), ['certificate', 'private_key', 'ca_certificate'], 'exactly what the guide has');
  const leaf = new X509Certificate(device.certificate);
  t.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
  t.match(leaf.subjectAltName, /DNS:teddy-bear-001\.devices\.ai-teddy\.com/);
  t.equal(leaf.issuer, 'CN=AI-Teddy-CA Devices');
  t.notOk(existsSync(join(storage, 'teddy-bear-001')), 'the key is kept nowhere');
  for (const evil of ['x",evil', '../../x']) {
    const into = join(directory, 'out');
    t.match(await create(evil, '--output', into), { code: 1, stderr: /SL-NAME-002/ }, `M37 ${JSON.stringify(evil)}`);
    t.same(readdirSync(into), [], 'nothing was written');
  }
  t.match(await cli(['list', '--no-headers'], { env }), { stdout: /^teddy-bear-001 +devices +device / });

  await cli(['generate', '--service', 'gateway'], { env });
  const file = (name: string) => readFileSync(join(storage, 'gateway', name), 'utf8');
  const gateway = { cert: file('cert.pem'), key: file('key.pem'), ca: file('ca.pem') };
  const own = { cert: device.certificate, key: device.private_key, ca: device.ca_certificate };
  t.match(await mutualHandshake(gateway, own), { server: { result: 'ok' }, client: { result: 'ok' } });

  const flash = join(directory, 'flash');
  writeFileSync(join(directory, 'ids.txt'), '# two\nteddy-bear-002\n\nteddy-bear-003\n');
  const from = ['--from', join(directory, 'ids.txt'), '--output', flash];
  for (const format of ['c-header', 'nvs-csv', 'der', 'pem'])
    t.match(await create(...from, '--format', format), { code: 0 });
  t.match(await create(...from, '--format', 'pem'), { code: 1, stderr: /exists already/ });
  t.equal(readdirSync(flash).filter((name) => name.startsWith('teddy-bear-003')).length, 2 + 4 + 3);
  for (const secret of ['h', 'nvs.csv', 'key.der', 'key.pem']) {
    t.equal(statSync(join(flash, `teddy-bear-002.${secret}`)).mode & 0o777, 0o600, secret);
  }
  t.match(
    readFileSync(join(flash, 'teddy-bear-002.nvs.csv'), 'utf8'),
    /^key,type,encoding,value\nmtls,namespace,,\ncertificate,data,string,"-----BEGIN/,
  );
  t.ok(new X509Certificate(readFileSync(join(flash, 'teddy-bear-002.cert.der'))));
  t.match(await create(), { code: 2, stderr: /no devices/ });
  t.match(await create('a', 'b'), { code: 2, stderr: /--output/ });

  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const pem = (name: string) => join(flash, `teddy-bear-002.${name}.pem`);
  const verify = ['verify', '-CAfile', pem('ca'), '-untrusted', pem('cert'), pem('cert')];
  t.match(await startProgram(openssl, verify).ended, { code: 0, stdout: /: OK\n$/ });
});
