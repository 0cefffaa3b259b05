import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { IdentityMaterial } from '../pki/material.ts';
import type { DataPlaneMetrics } from './metrics.ts';

/** Hybrid post-quantum first, then the classical groups every peer has. */
const GROUPS = 'X25519MLKEM768:X25519:P-256';

export type MinVersion = 'TLSv1.2' | 'TLSv1.3';
type Role = 'server' | 'client';

/** One context a role and identity; connections only look it up. */
export interface TlsContexts {
  /** Builds both contexts of an identity before it is taken up. Throws what OpenSSL throws, and nothing has changed. */
  prepare(material: IdentityMaterial): void;
  of(material: IdentityMaterial, role: Role): SecureContext;
}

/** What every context of ours is made of, of either role. */
export function contextOptions(material: IdentityMaterial, minVersion: MinVersion): SecureContextOptions {
  return {
    cert: material.certPem,
    key: material.keyPem,
    // Never absent: without it Node would trust every public root for callers.
    ca: material.bundle.pem,
    minVersion,
    maxVersion: 'TLSv1.3',
    ecdhCurve: GROUPS,
    // A ticket outlives CA removal, revocation and expiry; resumption stays off. So does 1.2's renegotiation.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
}

export function createTlsContexts(metrics: Pick<DataPlaneMetrics, 'contexts'>, minVersion: MinVersion): TlsContexts {
  const built = new WeakMap<IdentityMaterial, Map<Role, SecureContext>>();
  const of = (material: IdentityMaterial, role: Role): SecureContext => {
    let contexts = built.get(material);
    if (contexts === undefined) {
      contexts = new Map();
      built.set(material, contexts);
    }
    let context = contexts.get(role);
    if (context === undefined) {
      metrics.contexts.with({ role }).value++;
      context = createSecureContext(contextOptions(material, minVersion));
      contexts.set(role, context);
    }
    return context;
  };
  return {
    prepare(material) {
      of(material, 'server');
      of(material, 'client');
    },
    of,
  };
}
