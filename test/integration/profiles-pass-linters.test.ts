import { createPublicKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DAY, HOUR, systemClock } from '../../src/base/clock.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { createCrl } from '../../src/pki/crl-build.ts';
import { createIssuer, createRoot, crossSign, issueLeaf } from '../../src/pki/issue.ts';
import { generateKey, KEY_TYPES } from '../../src/pki/keys.ts';
import { pemEncode } from '../../src/pki/pem.ts';
import { makeRoot } from '../support/badcert.ts';
import { openManager, temporaryDirectory } from '../support/manager/rig.ts';
import { requireProgram } from '../support/programs.ts';
import { run } from '../support/servers.ts';

interface Finding {
  readonly code: string;
  readonly severity: string;
  readonly message: string;
}

/** What pkilint says against us, and why it is so. Nothing else may come up. */
const KNOWN: ReadonlyArray<readonly [code: string, message: RegExp, why: string]> = [
  ['pkix.invalid_uri_syntax', /"spiffe:\/\//, 'its list of URI schemes has no spiffe; the form is that of SPIFFE-ID 2'],
  [
    'pkix.invalid_domain_name_syntax',
    /"[a-z0-9-]+"/,
    'names of one label are how services of one network call each other',
  ],
  [
    'pkix.invalid_email_address_syntax',
    /"invalid"/,
    'a name constraint by host (RFC 5280 4.2.1.10) that no mail address can meet; it is read as an address',
  ],
];

/**
 * Rules of zlint that are not those of a private PKI: what public CAs promise to browsers, to mail and code-signing
 * programs, and to the EU. RFCs, and what its community adds, all count.
 */
const FOREIGN = 'CABF_BR,CABF_EV,CABF_SMIME_BR,CABF_CS_BR,Mozilla,Apple,ETSI_ESI';

/** PEM of all that is ever issued, by name. */
const { certificates, crl } = await everything();

async function everything() {
  const now = systemClock.now();
  const made = new Map<string, string>();
  const add = (name: string, { der }: { readonly der: Buffer }) => made.set(name, pemEncode('CERTIFICATE', der));
  const key = await generateKey('rsa-2048');
  const root = { key, certificate: await createRoot({ name: 'AI-Teddy-CA', key, now, validityYears: 10 }) };
  add('root', root.certificate);
  const nextKey = await generateKey('ecdsa-p256');
  const next = await createRoot({ name: 'AI-Teddy-CA', key: nextKey, now, validityYears: 10, generation: 2 });
  add('second root', next);
  add('second root, cross-signed', await crossSign(next, root, now));
  const issuerKey = await generateKey('ecdsa-p256');
  const publicKey = createPublicKey(issuerKey);
  const terms = { issuer: root, publicKey, now, validityYears: 1, trustDomain: 'ai-teddy.local' };
  const issuer = { key: issuerKey, certificate: await createIssuer({ ...terms, name: 'Services' }) };
  add('issuer', issuer.certificate);
  const spiffeId = 'spiffe://ai-teddy.local/ns/shop/sa/orders';
  for (const keyType of KEY_TYPES) {
    const leaf = issueLeaf({
      ...{ signer: root, publicKey: createPublicKey(await generateKey(keyType)), now, validityMs: 90 * DAY, spiffeId },
      sans: [
        { type: 'dns', value: 'orders' },
        { type: 'dns', value: 'orders.shop.svc' },
        { type: 'ip', value: '10.0.0.7' },
        { type: 'ip', value: 'fd00::7' },
      ],
    });
    add(`leaf ${keyType}`, leaf);
  }
  const short = issueLeaf({ signer: issuer, publicKey, now, validityMs: HOUR / 6, sans: [], spiffeId });
  add('leaf of ten minutes, by the issuer', short);
  const directory = await temporaryDirectory(t);
  await using manager = await openManager(join(directory, 'pki'), systemClock, { ca: { issuer: true } });
  const { certificate: device } = await manager.devices.create({ device: 'teddy-bear-001' });
  const { certificate: service } = await manager.ca.generateServiceCertificate({
    ...{ serviceName: 'web', serviceType: 'gateway', additionalSans: ['web.ai-teddy.local'] },
  });
  for (const [called, pem] of Object.entries({ device, service })) {
    for (const [i, certificate] of certificatesFromPem(pem, called).entries()) add(`${called} ${i}`, certificate);
  }
  add('API', (await manager.managerIdentity()).leaf);
  const entries = new Map([[short.serial, { reason: 'keyCompromise' as const, at: now }]]);
  const list = await createCrl({ signer: root, number: 7, now, nextUpdate: now + DAY, entries });
  return { certificates: made, crl: list.pem };
}

/** What the program prints; its exit code may be the number of findings. */
async function printed(t: Test, name: string, pem: string, program: string, ...flags: string[]): Promise<string> {
  const file = join(await temporaryDirectory(t), 'x.pem');
  await writeFile(file, pem);
  const { stdout, stderr } = await run(program, [...flags, file]).catch(
    (failed: { stdout: string; stderr: string }) => failed,
  );
  t.equal(stderr, '', `${name}: it ran`);
  return stdout;
}

t.test('zlint finds no error and no warning in anything that is issued', async (t) => {
  const zlint = requireProgram(t, 'zlint', [join(homedir(), '.cache/sidelock/bin')]);
  if (zlint === undefined) return;
  const findings = async (name: string, pem: string) => {
    const results: Record<string, { result: string; details?: string }> = JSON.parse(
      await printed(t, name, pem, zlint, `-excludeSources=${FOREIGN}`),
    );
    return Object.entries(results).filter(([, { result }]) => ['warn', 'error', 'fatal'].includes(result));
  };
  for (const [name, pem] of certificates) t.strictSame(await findings(name, pem), [], name);
  t.strictSame(await findings('CRL', crl), [], 'CRL');
  const bad = await findings('serial 0', makeRoot({ serial: Buffer.from([0]) }).pem);
  t.match(bad, [['e_serial_number_not_positive', { result: 'error' }]], 'and would find one');
});

t.test('pkilint finds no error in anything that is issued', async (t) => {
  const lintCertificate = requireProgram(t, 'lint_pkix_cert');
  const lintCrl = requireProgram(t, 'lint_crl');
  if (lintCertificate === undefined || lintCrl === undefined) return;
  const lint = async (name: string, pem: string, program: string, ...more: string[]) => {
    const output = await printed(t, name, pem, program, 'lint', '-s', 'WARNING', '-f', 'JSON', ...more);
    const { results } = JSON.parse(output) as { results: Array<{ finding_descriptions: Finding[] }> };
    const left = results
      .flatMap(({ finding_descriptions: found }) => found)
      .filter(({ code, message }) => !KNOWN.some(([known, text]) => known === code && text.test(message)));
    t.strictSame(left, [], name);
  };
  // A second each: what differs from another by the size of its key alone is left to zlint.
  const wanted = [...certificates].filter(([name]) => !/rsa-[34]|p384|service 1/.test(name));
  const half = Math.ceil(wanted.length / 2);
  const all = async (part: typeof wanted) => {
    for (const [name, pem] of part) await lint(name, pem, lintCertificate);
  };
  await Promise.all([all(wanted.slice(0, half)), all(wanted.slice(half))]);
  await lint('CRL', crl, lintCrl, '-t', 'CRL', '-p', 'PKIX');
});
