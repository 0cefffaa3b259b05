import { createPublicKey } from 'node:crypto';
import { type Clock, DAY } from '../base/clock.ts';
import { isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { certificatesFromPem, EXTENSION } from '../pki/certificate.ts';
import { issueLeaf } from '../pki/issue.ts';
import { generateKey, privateKeyToPem } from '../pki/keys.ts';
import { type IdentityMaterial, readIdentity } from '../pki/material.ts';
import { dnsNamesFor, MANAGER_NAMESPACE, parseSan, type San, serviceSpiffeId } from '../pki/names.ts';
import { pemEncode } from '../pki/pem.ts';
import type { AuditLog } from './audit.ts';
import type { Authority } from './ca.ts';

interface OwnIdentityOptions {
  /** What signs now. */
  readonly authority: () => Authority;
  readonly trustDomain: string;
  readonly address: () => string;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly log: Logger;
}

const VALIDITY_MS = DAY;

/**
 * The certificate the API is served with, in memory only. Each call gives one with at least half its life left,
 * or the old one when the CA cannot issue now.
 */
export function createOwnIdentity(options: OwnIdentityOptions): () => Promise<IdentityMaterial> {
  const { authority, clock, log } = options;
  let current: IdentityMaterial | undefined;
  let by: Authority | undefined;
  let issuing: Promise<Issued> | undefined;

  return async () => {
    const now = clock.now();
    const fresh = (leaf: Lifetime) => now >= leaf.notBefore && now < leaf.notAfter - VALIDITY_MS / 2;
    if (current !== undefined && by === authority() && fresh(current.leaf)) return current;
    issuing ??= issue(options, authority()).finally(() => {
      issuing = undefined;
    });
    try {
      ({ material: current, by } = await issuing);
    } catch (error) {
      if (current === undefined || !isSidelockError(error)) throw error;
      log.error({ event: 'own_identity_failed', code: error.code }, `no new certificate for the API: ${error.message}`);
    }
    return current;
  };
}

type Lifetime = Pick<IdentityMaterial['leaf'], 'notBefore' | 'notAfter'>;

interface Issued {
  readonly material: IdentityMaterial;
  readonly by: Authority;
}

async function issue(
  { trustDomain, address, audit, clock }: OwnIdentityOptions,
  authority: Authority,
): Promise<Issued> {
  const key = await generateKey('ecdsa-p256');
  const now = clock.now();
  const spiffeId = serviceSpiffeId({ trustDomain, namespace: MANAGER_NAMESPACE, service: 'manager' });
  const leaf = issueLeaf({
    signer: authority.signer,
    publicKey: createPublicKey(key),
    spiffeId,
    sans: ownNames(authority, address(), trustDomain),
    validityMs: VALIDITY_MS,
    now,
  });
  const material = readIdentity(
    {
      // Who knows only the root before this one must still be able to come here for the new one.
      cert: pemEncode('CERTIFICATE', leaf.der) + authority.issuerPem + authority.crossPem,
      key: privateKeyToPem(key),
      ca: authority.bundlePem,
    },
    { now, expectedId: spiffeId },
  );
  await audit.append({
    action: 'certificate_issued',
    actor: 'manager',
    service: 'manager',
    serial: leaf.serial,
    result: 'ok',
  });
  return { material, by: authority };
}

/**
 * For people with curl; sidecars check the SPIFFE id. Name constraints let an issuer vouch for names of services only, so
 * the address and the names of this machine are left out under them, as is a host that is no name of the PKI.
 */
function ownNames(authority: Authority, address: string, trustDomain: string): San[] {
  const host = URL.parse(address)?.hostname.replace(/^\[|\]$/g, '') ?? 'localhost';
  const service = dnsNamesFor({ service: 'manager', namespace: MANAGER_NAMESPACE, trustDomain });
  const machine = constrained(authority) ? [] : ['localhost', '127.0.0.1', '::1', host];
  return [...new Set([...service, ...machine])].flatMap((name) => {
    try {
      return [parseSan(name)];
    } catch {
      return [];
    }
  });
}

/** Of the CA that signs: what other roots are held to is not asked of what it issues. */
function constrained({ root, issuerPem }: Authority): boolean {
  const issuers = issuerPem === '' ? [] : certificatesFromPem(issuerPem, 'the CA');
  return [root, ...issuers].some(({ extensions }) => extensions.some(({ oid }) => oid === EXTENSION.nameConstraints));
}
