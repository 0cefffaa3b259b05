import { createPublicKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { DAY, HOUR, systemClock } from '../../src/base/clock.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { createCrl } from '../../src/pki/crl-build.ts';
import { createIssuer, createRoot, issueLeaf } from '../../src/pki/issue.ts';
import { generateKey, KEY_TYPES } from '../../src/pki/keys.ts';
import { pemEncode } from '../../src/pki/pem.ts';
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

t.test('pkilint finds no error in what each profile issues, nor in a revocation list', async (t) => {
  const lintCertificate = requireProgram(t, 'lint_pkix_cert');
  const lintCrl = requireProgram(t, 'lint_crl');
  if (lintCertificate === undefined || lintCrl === undefined) return;
  const directory = await temporaryDirectory(t);
  const lint = async (name: string, pem: string, [program, ...more]: readonly [string, ...string[]]) => {
    const file = join(directory, `${name}.pem`);
    await writeFile(file, pem);
    // Its exit code is the number of findings.
    const ran = run(program, ['lint', '-s', 'WARNING', '-f', 'JSON', ...more, file]);
    const { stdout, stderr } = await ran.catch((failed: { stdout: string; stderr: string }) => failed);
    t.equal(stderr, '', `${name}: it ran`);
    const { results } = JSON.parse(stdout) as { results: Array<{ finding_descriptions: Finding[] }> };
    const left = results
      .flatMap(({ finding_descriptions: found }) => found)
      .filter(({ code, message }) => !KNOWN.some(([known, text]) => known === code && text.test(message)));
    t.strictSame(left, [], name);
  };
  const certificate = (name: string, pem: string) => lint(name, pem, [lintCertificate]);

  const now = systemClock.now();
  const key = await generateKey('ecdsa-p256');
  const root = { key, certificate: await createRoot({ name: 'AI-Teddy-CA', key, now, validityYears: 10 }) };
  const issuerKey = await generateKey('ecdsa-p256');
  const issuer = {
    key: issuerKey,
    certificate: await createIssuer({
      ...{ name: 'Services', issuer: root, publicKey: createPublicKey(issuerKey), now, validityYears: 1 },
      trustDomain: 'ai-teddy.local',
    }),
  };
  await certificate('root', pemEncode('CERTIFICATE', root.certificate.der));
  await certificate('issuer', pemEncode('CERTIFICATE', issuer.certificate.der));
  for (const keyType of KEY_TYPES) {
    const leaf = issueLeaf({
      ...{ signer: root, publicKey: createPublicKey(await generateKey(keyType)), now, validityMs: 90 * DAY },
      spiffeId: 'spiffe://ai-teddy.local/ns/shop/sa/orders',
      sans: [
        { type: 'dns', value: 'orders' },
        { type: 'dns', value: 'orders.shop.svc' },
        { type: 'ip', value: '10.0.0.7' },
        { type: 'ip', value: 'fd00::7' },
      ],
    });
    await certificate(`leaf-${keyType}`, pemEncode('CERTIFICATE', leaf.der));
  }
  const short = issueLeaf({
    ...{ signer: issuer, publicKey: createPublicKey(key), now, validityMs: HOUR / 6, sans: [] },
    spiffeId: 'spiffe://ai-teddy.local/ns/shop/sa/orders',
  });
  await certificate('leaf-of-ten-minutes', pemEncode('CERTIFICATE', short.der));

  await using manager = await openManager(join(directory, 'pki'), systemClock);
  const { certificate: chain } = await manager.devices.create({ device: 'teddy-bear-001' });
  for (const [i, { der }] of certificatesFromPem(chain, 'the device').entries()) {
    await certificate(`device-${i}`, pemEncode('CERTIFICATE', der));
  }
  const entries = new Map([[short.serial, { reason: 'keyCompromise' as const, at: now }]]);
  const crl = await createCrl({ signer: root, number: 7, now, nextUpdate: now + DAY, entries });
  await lint('crl', crl.pem, [lintCrl, '-t', 'CRL', '-p', 'PKIX']);
});
