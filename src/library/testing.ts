import { createPublicKey } from 'node:crypto';
import { type Clock, DAY, systemClock } from '../base/clock.ts';
import type { Certificate } from '../pki/certificate.ts';
import { createRoot, issueLeaf } from '../pki/issue.ts';
import { generateKey, privateKeyToPem } from '../pki/keys.ts';
import { dnsNamesFor, serviceSpiffeId } from '../pki/names.ts';
import { pemEncode } from '../pki/pem.ts';
import { writeGeneration } from '../store/generation.ts';
import { CA_FILE, CERT_FILE, CERT_MODE, KEY_FILE, KEY_MODE } from '../store/layout.ts';

/** PEM texts of one identity. */
export interface TestIdentity {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

interface IssueOptions {
  /** `default` unless given. */
  readonly namespace?: string;
  /** One day unless given. */
  readonly validityMs?: number;
}

/** A certificate authority for tests: in memory, EC P-256, a few milliseconds a certificate. */
export interface TestPki {
  /** PEM of the root. */
  readonly ca: string;
  issue(service: string, options?: IssueOptions): Promise<TestIdentity>;
  /** Issues into a directory, as cert.pem, key.pem and ca.pem, all at once by one rename: again is a rotation. */
  write(directory: string, service: string, options?: IssueOptions): Promise<TestIdentity>;
}

interface TestPkiOptions {
  /** `ai-teddy.local` unless given. */
  readonly trustDomain?: string;
  /** Certificates begin and end by it. */
  readonly clock?: Pick<Clock, 'now'>;
}

export async function testPki({
  trustDomain = 'ai-teddy.local',
  clock = systemClock,
}: TestPkiOptions = {}): Promise<TestPki> {
  const key = await generateKey('ecdsa-p256');
  const certificate = await createRoot({ name: 'Test CA', key, now: clock.now() - DAY, validityYears: 10 });
  const ca = pemOf(certificate);

  const issue = async (service: string, { namespace = 'default', validityMs = DAY }: IssueOptions = {}) => {
    const own = await generateKey('ecdsa-p256');
    const names = { trustDomain, namespace, service };
    const leaf = issueLeaf({
      signer: { certificate, key },
      publicKey: createPublicKey(own),
      spiffeId: serviceSpiffeId(names),
      sans: dnsNamesFor(names).map((value) => ({ type: 'dns', value })),
      ...{ validityMs, now: clock.now() },
    });
    return { cert: pemOf(leaf), key: privateKeyToPem(own), ca };
  };
  return {
    ca,
    issue,
    async write(directory, service, options) {
      const issued = await issue(service, options);
      await writeGeneration(directory, {
        [CERT_FILE]: { data: issued.cert, mode: CERT_MODE },
        [KEY_FILE]: { data: issued.key, mode: KEY_MODE },
        [CA_FILE]: { data: issued.ca, mode: CERT_MODE },
      });
      return issued;
    },
  };
}

function pemOf({ der }: Certificate): string {
  return pemEncode('CERTIFICATE', der);
}
