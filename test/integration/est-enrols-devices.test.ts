import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { cli, shortDirectory } from '../support/cli.ts';
import { candidate, startRig } from '../support/manager/rig.ts';
import { requireProgram } from '../support/programs.ts';
import { run } from '../support/servers.ts';

const BASE = '/.well-known/est';

t.test('a device enrols and renews by EST with curl and openssl alone', async (t) => {
  const [curl, openssl] = [requireProgram(t, 'curl'), requireProgram(t, 'openssl')];
  if (curl === undefined || openssl === undefined) return;
  const rig = await startRig(t, { est: true });
  const { manager, storage } = rig;
  const directory = shortDirectory(t);
  const path = (name: string) => join(directory, name);
  const ca = path('ca.pem');
  await writeFile(ca, manager.trustBundle().pem);
  const url = rig.url.replace('127.0.0.1', 'localhost');
  const ask = async (what: string, ...flags: string[]) => {
    const format = ['-s', '--cacert', ca, '-w', '\n%{http_code} %{content_type}'];
    const { stdout } = await run(curl, [...format, ...flags, `${url}${BASE}/${what}`]);
    const [, body = '', status, type] = /^([\s\S]*)\n(\d{3}) (.*)$/.exec(stdout) ?? [];
    return { body, status, type };
  };
  /** Key and request of a device, as its firmware would make them. */
  const request = async (name: string, subject: string) => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', path(`${name}.key`)];
    await run(openssl, ['req', '-new', ...key, '-subj', subject, '-outform', 'DER', '-out', path(`${name}.der`)]);
    await run(openssl, ['base64', '-e', '-in', path(`${name}.der`), '-out', path(`${name}.csr`)]);
    return ['-H', 'content-type: application/pkcs10', '--data-binary', `@${path(`${name}.csr`)}`];
  };
  /** What openssl finds in an answer. */
  const certificates = async (name: string, { body, type }: { body: string; type: string | undefined }) => {
    t.equal(type, 'application/pkcs7-mime; smime-type=certs-only');
    await writeFile(path('p7.b64'), body);
    await run(openssl, ['base64', '-d', '-in', path('p7.b64'), '-out', path('p7.der')]);
    const flags = ['-inform', 'DER', '-in', path('p7.der'), '-print_certs', '-out', path(`${name}.pem`)];
    await run(openssl, ['pkcs7', ...flags]);
    const text = await readFile(path(`${name}.pem`), 'utf8');
    return certificatesFromPem(text.match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/g)?.join('') ?? '', name);
  };
  const codeOf = ({ body }: { body: string }) => JSON.parse(body).error.code;

  const first = await request('teddy-1', '/CN=teddy-1');
  const made = await cli(['device', 'token', 'teddy-1', '--storage', storage]);
  t.equal(made.code, 0);
  const token = made.stdout.trim();
  const refused = await ask('simpleenroll', ...first);
  t.same([refused.status, codeOf(refused)], ['401', 'SL-TOK-001'], 'M34 not without a proof');
  const { csr } = await candidate('teddy-1');
  await t.rejects(
    rig.client().enroll(token, csr),
    { code: 'SL-API-001' },
    'M21 a token of a device is none of a service',
  );
  const enrolled = await ask('simpleenroll', '-u', `teddy-1:${token}`, ...first);
  t.equal(enrolled.status, '200', enrolled.body);
  const [leaf, ...more] = await certificates('teddy-1', enrolled);
  t.same(more, [], 'the certificate that was issued, and nothing else');
  t.match(leaf, { subject: 'CN=teddy-1', issuer: 'CN=AI-Teddy-CA Devices', keyType: 'ecdsa-p256' });
  t.ok(leaf?.sans?.some(({ value }) => value === 'teddy-1.devices.ai-teddy.com'));

  const chain = await certificates('chain', await ask('cacerts'));
  t.same(
    chain.map(({ subject }) => subject),
    ['CN=AI-Teddy-CA', 'CN=AI-Teddy-CA Devices'],
  );
  const verified = ['verify', '-x509_strict', '-CAfile', path('chain.pem'), path('teddy-1.pem')];
  t.match((await run(openssl, verified)).stdout, /OK/);

  const issuer = (await readFile(path('chain.pem'), 'utf8')).match(
    /-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/g,
  )?.[1];
  await writeFile(path('own.pem'), `${await readFile(path('teddy-1.pem'), 'utf8')}${issuer}`);
  const own = ['--cert', path('own.pem'), '--key', path('teddy-1.key')];
  const other = await ask('simplereenroll', ...own, ...(await request('other', '/CN=teddy-2')));
  t.same([other.status, codeOf(other)], ['403', 'SL-NAME-004'], 'M34 not under another name');
  const bare = await ask('simplereenroll', ...(await request('next', '/CN=teddy-1')));
  t.same([bare.status, codeOf(bare)], ['403', 'SL-API-002'], 'M34 not without its certificate');
  const next = await request('next', '/CN=teddy-1');
  const [renewed] = await certificates('next', await ask('simplereenroll', ...own, ...next));
  t.not(renewed?.spkiSha256, leaf?.spkiSha256, 'with a key of its own');
  t.equal(manager.listAllCertificates().get('devices/teddy-1')?.serial, renewed?.serial);

  const again = await ask('simpleenroll', '-u', `teddy-1:${token}`, ...(await request('thief', '/CN=teddy-1')));
  t.same([again.status, codeOf(again)], ['401', 'SL-TOK-002'], 'the token is used up');
  const { token: service } = await manager.tokens.create({ service: 'web' });
  const wrong = await ask('simpleenroll', '-u', `web:${service}`, ...first);
  t.equal(codeOf(wrong), 'SL-TOK-004', 'M21 nor is a token of a service one of a device');
  const web = await rig.enroll('web');
  await writeFile(path('web.pem'), web.certPem);
  await writeFile(path('web.key'), web.keyPem);
  const service2 = await ask('simplereenroll', '--cert', path('web.pem'), '--key', path('web.key'), ...next);
  t.same([service2.status, codeOf(service2)], ['403', 'SL-API-002'], 'M31 nor does a service become a device');
  const pem = await ask('simpleenroll', '-u', 'x:y', '-H', 'content-type: application/pkcs10', '-d', 'not base64!');
  t.equal(codeOf(pem), 'SL-CSR-001');
});

t.test('it is off unless it is asked for', async (t) => {
  const rig = await startRig(t);
  t.equal((await fetchStatus(rig.url)).status, 404);
});

async function fetchStatus(url: string): Promise<{ status: number | undefined }> {
  const { request } = await import('node:https');
  return await new Promise((resolve, reject) => {
    const asked = request(`${url}${BASE}/cacerts`, { rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      resolve({ status: response.statusCode });
    });
    asked.on('error', reject).end();
  });
}
