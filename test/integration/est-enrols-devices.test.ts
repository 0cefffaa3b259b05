import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
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
  return await new Promise((resolve, reject) => {
    const asked = request(`${url}${BASE}/cacerts`, { rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      resolve({ status: response.statusCode });
    });
    asked.on('error', reject).end();
  });
}

t.test('M20 M41 of a hundred requests at once with one token one key gets one certificate', async (t) => {
  const limits = { refusedTokens: { burst: 300, perSecond: 1 }, maxSigning: 300 };
  const rig = await startRig(t, { est: true, limits });
  const { manager, url } = rig;
  const ca = manager.trustBundle().pem;
  const enrol = (token: string, csr: string) =>
    post(`${url}${BASE}/simpleenroll`, { ca, auth: `x:${token}`, body: csr.replace(/-----[^-]+-----|\s/g, '') });
  const statuses = (answers: ReadonlyArray<{ status: number | undefined }>) =>
    Object.fromEntries([...Map.groupBy(answers, ({ status }) => status)].map(([status, of]) => [status, of.length]));

  const one = await manager.devices.createToken({ device: 'teddy-1' });
  const { csr } = await candidate('teddy-1');
  const same = await Promise.all(Array.from({ length: 100 }, () => enrol(one.token, csr)));
  t.same(statuses(same), { 200: 100 }, 'one key: whoever repeats gets it again');
  t.equal(new Set(same.map(({ body }) => body)).size, 1);

  const two = await manager.devices.createToken({ device: 'teddy-2' });
  const requests = await Promise.all(Array.from({ length: 100 }, () => candidate('teddy-2')));
  const answers = await Promise.all(requests.map((request) => enrol(two.token, request.csr)));
  t.same(statuses(answers), { 200: 1, 401: 99 }, 'a hundred keys: the first that comes');
  const audit = await auditOf(rig);
  const issued = audit.filter(({ action, service }) => action === 'certificate_issued' && /^teddy/.test(`${service}`));
  t.same(
    issued.map(({ service }) => service),
    ['teddy-1', 'teddy-2'],
  );
  const refused = audit.filter(({ action }) => action === 'token_refused');
  t.equal(refused.length, 99);
  t.match(
    refused[0],
    { actor: /^token:[0-9a-f]{8}$/, service: 'teddy-2', why: 'SL-TOK-002' },
    'it is said whose it was',
  );
  t.equal(rig.lines.filter(({ event }) => event === 'token_refused').length, 99, 'and in the log');
});

t.test('M31 a leaf of a device that is used again is noted, and then refused, as that of a service is', async (t) => {
  const rig = await startRig(t);
  const { devices } = rig.manager;
  const remote = '127.0.0.1';
  const { token } = await devices.createToken({ device: 'teddy-1' });
  const { pem, serial } = await devices.enroll({ token, csr: (await candidate('teddy-1')).csr, remote });
  const chain = certificatesFromPem(pem, 'the answer').map(({ der }) => der);
  const renew = async () => devices.renew({ chain, csr: (await candidate('teddy-1')).csr, remote });
  await renew();
  await renew();
  const actor = 'spiffe://ai-teddy.local/ns/devices/sa/teddy-1';
  const noted = { action: 'leaf_reused', actor, remote, service: 'teddy-1', serial, result: 'ok' };
  t.match(
    (await auditOf(rig)).filter(({ action }) => action === 'leaf_reused'),
    [noted],
  );
  await t.rejects(renew(), { code: 'SL-API-002', fix: /sidelock device token teddy-1/ });
  t.match((await auditOf(rig)).at(-1), { action: 'certificate_refused', actor, remote, service: 'teddy-1', serial });
});

async function auditOf({ storage }: { storage: string }): Promise<Array<Record<string, unknown>>> {
  const text = await readFile(join(storage, '.sidelock/audit.log'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

async function post(url: string, { ca, auth, body }: { ca: string; auth: string; body: string }) {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number | undefined; body: string }>();
  const headers = { 'content-type': 'application/pkcs10' };
  const asked = request(url, { method: 'POST', ca, auth, headers, agent: false }, async (response) => {
    response.setEncoding('utf8');
    let answer = '';
    for await (const part of response) answer += part;
    resolve({ status: response.statusCode, body: answer });
  });
  asked.on('error', reject).end(body);
  return await promise;
}
