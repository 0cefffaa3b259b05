import { createPublicKey } from 'node:crypto';
import { type Clock, DAY } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { createRoot, issueLeaf, type Signer } from '../pki/issue.ts';
import { generateKey, privateKeyFromPem, privateKeyToPem, spkiSha256 } from '../pki/keys.ts';
import { parseSan, serviceSpiffeId } from '../pki/names.ts';
import { certificatesToPem, pemEncode } from '../pki/pem.ts';
import { MANAGED_BY } from './names.ts';
import type { Secret, SecretClient } from './secret-client.ts';

/** The CA of the webhook alone, shared by its replicas. It vouches for nobody else. */
export interface WebhookAuthority {
  readonly signer: Signer;
  /** PEM: this CA, and the one before while it is in date. */
  readonly bundle: string;
}

interface AuthorityOptions {
  readonly secrets: SecretClient;
  readonly namespace: string;
  readonly clock: Clock;
}

const NAME = 'sidelock-webhook-ca';
const TYPE = 'kubernetes.io/tls';
const CA_YEARS = 1;
export const LEAF_MS = 7 * DAY;

/**
 * The CA of the Secret; made when it is missing or damaged, and anew after two thirds of its life, beside the old one.
 * Replicas that do so at once end with one of theirs. @throws SL-KUBE-001, SL-KUBE-002, SL-KUBE-003
 */
export async function ensureAuthority({ secrets, namespace, clock }: AuthorityOptions): Promise<WebhookAuthority> {
  for (let tries = 0; tries < 5; tries++) {
    const now = clock.now();
    const found = await secrets.read(namespace, NAME);
    if (found === undefined) {
      await secrets.create(secretOf(namespace, await make(now)));
      continue;
    }
    if (found.labels[MANAGED_BY.label] !== MANAGED_BY.value || found.type !== TYPE) {
      throw new SidelockError('SL-KUBE-003', `will not write to Secret ${namespace}/${NAME}`, {
        why: `its label ${MANAGED_BY.label} is ${found.labels[MANAGED_BY.label] ?? 'not there'}, its type ${found.type}`,
      });
    }
    const known = read(found, now);
    if (known !== undefined && !isDue(known, now)) return known;
    const { resourceVersion } = found;
    await secrets.replace({ ...secretOf(namespace, await make(now, known)), resourceVersion });
  }
  throw new SidelockError('SL-KUBE-002', `cannot write Secret ${namespace}/${NAME}: somebody else keeps changing it`);
}

/** A serving certificate for the Service, in PEM. */
export async function issueServing(
  { signer }: WebhookAuthority,
  {
    service,
    namespace,
    trustDomain,
  }: { readonly service: string; readonly namespace: string; readonly trustDomain: string },
  now: number,
) {
  const key = await generateKey('ecdsa-p256');
  const leaf = issueLeaf({
    signer,
    publicKey: createPublicKey(key),
    spiffeId: serviceSpiffeId({ trustDomain, namespace, service }),
    sans: [parseSan(`${service}.${namespace}.svc`)],
    validityMs: LEAF_MS,
    now,
  });
  return { cert: pemEncode('CERTIFICATE', leaf.der), key: privateKeyToPem(key), notAfter: leaf.notAfter };
}

interface Made {
  readonly cert: string;
  readonly key: string;
  readonly bundle: string;
}

async function make(now: number, before?: WebhookAuthority): Promise<Made> {
  const key = await generateKey('ecdsa-p256');
  const name = 'sidelock webhook';
  const root = await createRoot({ name, key, now, validityYears: CA_YEARS });
  const cert = pemEncode('CERTIFICATE', root.der);
  const old = before === undefined ? '' : pemEncode('CERTIFICATE', before.signer.certificate.der);
  return { cert, key: privateKeyToPem(key), bundle: cert + old };
}

function secretOf(namespace: string, { cert, key, bundle }: Made): Secret {
  const labels = { [MANAGED_BY.label]: MANAGED_BY.value };
  return { namespace, name: NAME, type: TYPE, labels, data: { 'tls.crt': cert, 'tls.key': key, 'ca.crt': bundle } };
}

/** Undefined for what cannot be used any more. */
function read({ data }: Secret, now: number): WebhookAuthority | undefined {
  try {
    const [certificate] = certificatesFromPem(data['tls.crt'] ?? '', 'tls.crt');
    const key = privateKeyFromPem(data['tls.key'] ?? '', 'tls.key');
    const all = certificatesFromPem(data['ca.crt'] ?? '', 'ca.crt');
    const bundle = all.filter(({ notAfter }) => notAfter > now);
    if (certificate === undefined || certificate.notAfter <= now) return undefined;
    const matches = spkiSha256(createPublicKey(key)) === certificate.spkiSha256;
    const published = bundle.some(({ fingerprint256 }) => fingerprint256 === certificate.fingerprint256);
    if (!matches || !published) return undefined;
    return { signer: { certificate, key }, bundle: certificatesToPem(bundle) };
  } catch (error) {
    if (isSidelockError(error)) return undefined;
    throw error;
  }
}

function isDue({ signer: { certificate } }: WebhookAuthority, now: number): boolean {
  return now >= certificate.notBefore + ((certificate.notAfter - certificate.notBefore) * 2) / 3;
}
