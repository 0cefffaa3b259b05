import { execFile, spawnSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { parseBundle } from '../../../src/pki/bundle.ts';
import { type Certificate, EKU } from '../../../src/pki/certificate.ts';
import { createIssuer, createRoot, issueLeaf, type Signer } from '../../../src/pki/issue.ts';
import { generateKey, type KeyType, privateKeyToPem } from '../../../src/pki/keys.ts';
import { dnsNamesFor, parseSan } from '../../../src/pki/names.ts';
import { verifyPeer } from '../../../src/pki/peer.ts';
import { pemEncode } from '../../../src/pki/pem.ts';
import { dns, email, ip, keyPem, makeLeaf, type Party, subjectAltName, uri } from '../../support/badcert.ts';
import { failureOf } from '../../support/failure.ts';
import { type Credentials, listen, mutualHandshake } from '../../support/handshake.ts';
import { requireProgram } from '../../support/programs.ts';

const DAY = 86_400_000;
const TRUST_DOMAIN = 'ai-teddy.local';
const WEB = 'spiffe://ai-teddy.local/ns/default/sa/web';
const NAMES = dnsNamesFor({ service: 'web', namespace: 'default', trustDomain: TRUST_DOMAIN }).map(parseSan);
const now = Date.now();
const run = promisify(execFile);
const pem = (...list: readonly Certificate[]): string => list.map(({ der }) => pemEncode('CERTIFICATE', der)).join('');

async function makeRoot(type: KeyType = 'ecdsa-p256', validityYears = 10): Promise<Signer> {
  const key = await generateKey(type);
  return { key, certificate: await createRoot({ name: 'AI-Teddy-CA', key, now, validityYears }) };
}

async function makeIssuer(root: Signer, type: KeyType = 'ecdsa-p256'): Promise<Signer> {
  const key = await generateKey(type);
  const publicKey = createPublicKey(key);
  const options = { name: 'AI-Teddy-CA Issuing', issuer: root, publicKey, now, validityYears: 5 };
  return { key, certificate: await createIssuer({ ...options, trustDomain: TRUST_DOMAIN }) };
}

interface Web {
  readonly key: KeyObject;
  readonly leaf: Certificate;
}

async function makeWeb(signer: Signer, type: KeyType = 'ecdsa-p256', extra: readonly string[] = []): Promise<Web> {
  const key = await generateKey(type);
  const sans = [...NAMES, ...extra.map(parseSan)];
  const publicKey = createPublicKey(key);
  const leaf = issueLeaf({ signer, publicKey, spiffeId: WEB, sans, validityMs: 90 * DAY, now });
  return { key, leaf };
}

const root = await makeRoot();
const issuer = await makeIssuer(root);

for (const type of ['rsa-2048', 'ecdsa-p256', 'ecdsa-p384', 'ed25519'] as const) {
  t.test(`${type}: root, issuer and leaf hold before OpenSSL, our own pass, and in a handshake`, async (t) => {
    const openssl = requireProgram(t, 'openssl');
    if (openssl === undefined) return;
    const family = { root: await makeRoot(type), issuer: undefined as Signer | undefined };
    family.issuer = await makeIssuer(family.root, type);
    const directory = await mkdtemp(join(tmpdir(), 'sidelock-issue-'));
    for (const [tier, signer] of [
      ['root', family.root],
      ['issuer', family.issuer],
    ] as const) {
      const { key, leaf } = await makeWeb(signer, type);
      const chain = tier === 'root' ? [leaf] : [leaf, signer.certificate];
      const files = {
        ca: join(directory, 'ca.pem'),
        cert: join(directory, 'cert.pem'),
        key: join(directory, 'key.pem'),
      };
      const mine: Credentials = { cert: pem(...chain), key: privateKeyToPem(key), ca: pem(family.root.certificate) };
      for (const name of ['ca', 'cert', 'key'] as const) await writeFile(files[name], mine[name], { mode: 0o600 });

      const strict = ['verify', '-x509_strict', '-CAfile', files.ca, '-untrusted', files.cert];
      for (const purpose of ['sslserver', 'sslclient']) {
        const { stdout } = await run(openssl, [...strict, '-purpose', purpose, files.cert]);
        t.match(stdout, /: OK/, `openssl verify as ${purpose} under the ${tier}`);
      }
      t.ok(new X509Certificate(mine.cert).checkPrivateKey(key));

      const bundle = parseBundle(mine.ca, 'ca.pem', now);
      for (const purpose of ['client', 'server'] as const) {
        const verdict = verifyPeer({ chain: chain.map((c) => c.der), bundle, now, purpose, trustDomain: TRUST_DOMAIN });
        t.match(verdict, { ok: true, spiffeId: { uri: WEB } }, `verifyPeer as ${purpose} under the ${tier}`);
      }

      const both = await mutualHandshake(mine, mine);
      for (const side of [both.server, both.client]) {
        t.match(side, { result: 'ok', protocol: 'TLSv1.3', peerNames: /URI:spiffe:\/\/ai-teddy\.local/ });
      }

      await using server = await listen(mine);
      const host = ['-connect', `127.0.0.1:${server.port}`, '-verify_hostname', `web.${TRUST_DOMAIN}`];
      const creds = ['-cert', files.cert, '-cert_chain', files.cert, '-key', files.key, '-CAfile', files.ca];
      const client = run(openssl, ['s_client', ...host, ...creds, '-verify_return_error', '-brief', '-ign_eof']);
      client.child.stdin?.end();
      const { stdout, stderr } = await client;
      t.match(`${stdout}${stderr}`, /TLSv1\.3[\s\S]*Verification: OK/, `openssl s_client under the ${tier}`);
      t.match(stdout, /hello/);
      t.match(await server.outcome, { result: 'ok' });
    }
  });
}

t.test('openssl x509 -text shows the extensions of the design, and no others', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const text = (certificate: Certificate) =>
    spawnSync('openssl', ['x509', '-noout', '-text'], { input: pem(certificate), encoding: 'utf8' }).stdout;
  const titles = (shown: string) =>
    [...shown.matchAll(/^ {12}(X509v3 [\w ]+): ?(critical)?/gm)].map(([, a, b]) => `${a} ${b ?? ''}`.trim());

  const ofRoot = text(root.certificate);
  t.same(titles(ofRoot), [
    'X509v3 Basic Constraints critical',
    'X509v3 Key Usage critical',
    'X509v3 Subject Key Identifier',
    'X509v3 Authority Key Identifier',
  ]);
  t.match(ofRoot, /CA:TRUE\n/);
  t.match(ofRoot, /Certificate Sign, CRL Sign\n/);

  const ofIssuer = text(issuer.certificate);
  t.match(ofIssuer, /CA:TRUE, pathlen:0\n/);
  t.match(
    ofIssuer.replace(/\s+/g, ' '),
    /Name Constraints: critical Permitted: URI:ai-teddy\.local DNS:ai-teddy\.local DNS:svc DNS:svc\.cluster\.local email:invalid Excluded: IP:0\.0\.0\.0\/0\.0\.0\.0 IP:0:0:0:0:0:0:0:0\/0:0:0:0:0:0:0:0 /,
  );

  const ofLeaf = text((await makeWeb(root, 'rsa-2048', ['10.0.0.1', '2001:db8::1'])).leaf);
  t.match(ofLeaf, /Subject: CN = web\n/);
  t.match(ofLeaf, /CA:FALSE\n/);
  t.match(ofLeaf, /Digital Signature, Key Encipherment\n/);
  t.match(ofLeaf, /TLS Web Server Authentication, TLS Web Client Authentication\n/);
  t.match(
    ofLeaf,
    /URI:spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/web, DNS:web, DNS:web\.ai-teddy\.local, DNS:web\.ai-teddy\.svc\.cluster\.local, DNS:web\.default\.svc, DNS:web\.default\.svc\.cluster\.local, IP Address:10\.0\.0\.1, IP Address:2001:DB8:0:0:0:0:0:1\n/,
  );
  t.match(
    text((await makeWeb(root)).leaf),
    /X509v3 Key Usage: critical\n\s+Digital Signature\n/,
    'EC: no encipherment',
  );
});

t.test('C24, C25: an issuer is held to its trust domain, its domains, and no address', async (t) => {
  const key = issuer.key;
  const { certificate } = issuer;
  const party: Party = {
    der: certificate.der,
    pem: pem(certificate),
    key,
    subject: certificate.subjectDer,
    keyId: Buffer.from(certificate.ski ?? '', 'hex'),
  };
  const good = uri(WEB);
  const rows: ReadonlyArray<readonly [string, readonly Buffer[], boolean]> = [
    ['our names', [good, dns('web.ai-teddy.local'), dns('web.default.svc')], true],
    ['URI alone', [good], true],
    ['foreign URI', [uri('spiffe://evil.local/ns/default/sa/web')], false],
    ['URI below the trust domain', [uri('spiffe://x.ai-teddy.local/ns/default/sa/web')], false],
    ['foreign DNS', [good, dns('web.evil.local')], false],
    ['DNS that ends like ours', [good, dns('evilai-teddy.local')], false],
    ['one label', [good, dns('web')], false],
    ['IPv4', [good, ip(10, 0, 0, 1)], false],
    ['IPv6', [good, ip(...Array<number>(16).fill(0))], false],
    ['mail', [good, email('a@ai-teddy.local')], false],
  ];
  const mine = { ca: pem(root.certificate) };
  const web = await makeWeb(issuer);
  const server = { ...mine, cert: pem(web.leaf, certificate), key: privateKeyToPem(web.key) };
  const bundle = parseBundle(mine.ca, 'ca.pem', now);
  for (const [name, sans, passes] of rows) {
    const leaf = makeLeaf(party, { extensions: { san: subjectAltName(...sans) } });
    const client = { ...mine, cert: leaf.pem + pem(certificate), key: keyPem(leaf) };
    const seen = await mutualHandshake(server, client);
    t.equal(seen.server.result, passes ? 'ok' : 'UNSPECIFIED', name);
    const chain = [leaf.der, certificate.der];
    const verdict = verifyPeer({ chain, bundle, now, purpose: 'client', trustDomain: TRUST_DOMAIN });
    t.equal(verdict.ok, passes, `${name}: our own pass agrees`);
  }
});

t.test('under a constrained issuer, names of one label are left out and other names refused', async (t) => {
  const { leaf } = await makeWeb(issuer);
  t.same(
    leaf.sans?.map(({ value }) => value),
    [WEB, ...NAMES.map(({ value }) => value).filter((name) => name !== 'web')],
  );
  for (const foreign of ['web.example.com', '10.0.0.1']) {
    await t.rejects(makeWeb(issuer, 'ecdsa-p256', [foreign]), { code: 'SL-NAME-004' });
  }
  const key = await generateKey('ecdsa-p256');
  const publicKey = createPublicKey(key);
  const options = { name: 'I', issuer: root, publicKey, now, validityYears: 5, trustDomain: TRUST_DOMAIN };
  const wider = { key, certificate: await createIssuer({ ...options, dnsDomains: ['example.com'] }) };
  t.ok((await makeWeb(wider, 'ecdsa-p256', ['web.example.com'])).leaf);
});

t.test('M40: serials are positive, of 16 octets, and never repeat', async (t) => {
  const key = await generateKey('ed25519');
  const publicKey = createPublicKey(key);
  const serials = new Set<string>();
  for (let i = 0; i < 200; i++) {
    serials.add(issueLeaf({ signer: root, publicKey, spiffeId: WEB, sans: [], validityMs: DAY, now }).serial);
  }
  t.equal(serials.size, 200);
  t.ok([...serials].every((serial) => /^[4-7][0-9a-f]{31}$/.test(serial)));
});

t.test('M48: a leaf begins two minutes early and ends with its signer at the latest', async (t) => {
  const publicKey = createPublicKey(await generateKey('ed25519'));
  const at = (ms: number, validityMs = 90 * DAY) =>
    issueLeaf({ signer: root, publicKey, spiffeId: WEB, sans: [], validityMs, now: ms });
  const second = (ms: number) => Math.floor(ms / 1000) * 1000;
  const { notBefore, notAfter } = root.certificate;
  t.equal(at(now + DAY).notBefore, second(now + DAY - 120_000));
  t.equal(at(now + DAY).notAfter, second(now + 91 * DAY));
  t.equal(at(now - 60_000).notBefore, notBefore, 'never before its signer');
  t.equal(at(notAfter - DAY).notAfter, notAfter, 'never after its signer');
  for (const out of [notAfter, notAfter + DAY, notBefore - 1]) {
    t.equal(failureOf(() => at(out)).code, 'SL-CA-003');
  }
  t.match(
    failureOf(() => at(now, 400 * DAY)),
    { code: 'SL-CERT-002', data: { reason: 'lifetime_too_long' } },
  );
});

t.test('dates from 2050 on are GeneralizedTime, generations have names of their own', async (t) => {
  const key = await generateKey('ecdsa-p256');
  const second = await createRoot({ name: 'AI-Teddy-CA', key, now, validityYears: 30, generation: 2 });
  t.equal(second.subject, 'CN=AI-Teddy-CA (2)');
  t.equal(root.certificate.subject, 'CN=AI-Teddy-CA');
  t.equal(new Date(second.notAfter).getUTCFullYear(), new Date(now).getUTCFullYear() + 30);
  t.ok(second.der.includes('20561'), 'four digits of the year');
  t.equal((await createIssuer({ ...issuerOptions(key), issuer: { certificate: second, key } })).issuer, second.subject);
  const short = await makeRoot('ecdsa-p256', 1);
  t.equal((await createIssuer({ ...issuerOptions(key), issuer: short })).notAfter, short.certificate.notAfter);
});

function issuerOptions(key: Signer['key']) {
  return { name: 'I', publicKey: createPublicKey(key), now, validityYears: 5, trustDomain: TRUST_DOMAIN };
}

t.test('what must not be issued is not', async (t) => {
  const key = await generateKey('ecdsa-p256');
  const base = { signer: root, publicKey: createPublicKey(key), spiffeId: WEB, sans: [], validityMs: DAY, now };
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  const rows: ReadonlyArray<readonly [string, Parameters<typeof issueLeaf>[0], string]> = [
    ['a weak key', { ...base, publicKey: weak }, 'SL-KEY-001'],
    ['no SPIFFE id', { ...base, spiffeId: 'https://x' }, 'SL-NAME-001'],
    ['a trust domain as a service', { ...base, spiffeId: 'spiffe://ai-teddy.local' }, 'SL-CERT-002'],
    ['a second URI', { ...base, sans: [{ type: 'uri', value: WEB }] }, 'SL-CERT-002'],
    ['a wildcard', { ...base, sans: [{ type: 'dns', value: '*.x' }] }, 'SL-CERT-002'],
    ['a key of another CA', { ...base, signer: { certificate: root.certificate, key } }, 'SL-CA-001'],
  ];
  for (const [name, options, code] of rows) t.equal(failureOf(() => issueLeaf(options)).code, code, name);
  const wrong = { ...issuerOptions(key), issuer: { certificate: root.certificate, key } };
  await t.rejects(createIssuer(wrong), { code: 'SL-CA-001' });
});

t.test('an id of another form has no subject, and so a critical SAN; a purpose can be left out', async (t) => {
  const publicKey = createPublicKey(await generateKey('ecdsa-p256'));
  const spiffeId = 'spiffe://ai-teddy.local/device/17';
  const leaf = issueLeaf({ signer: root, publicKey, spiffeId, sans: [], validityMs: DAY, now, eku: [EKU.clientAuth] });
  t.equal(leaf.subject, '');
  t.ok(leaf.extensions.find(({ oid }) => oid === '2.5.29.17')?.critical);
  t.same(leaf.eku, [EKU.clientAuth]);
});
