import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { IdentityMaterial } from '../pki/material.ts';
import type { DataPlaneMetrics } from './metrics.ts';
import type { TicketOptions, Tickets } from './tickets.ts';

/** Hybrid post-quantum first, then the classical groups every peer has. */
const GROUPS = 'X25519MLKEM768:X25519:P-256';

export type MinVersion = 'TLSv1.2' | 'TLSv1.3';
type Role = 'server' | 'client';

/** One context a role and identity; connections only look it up. */
export interface TlsContexts {
  /** Builds both contexts of an identity before it is taken up. Throws what OpenSSL throws, and nothing has changed. */
  prepare(material: IdentityMaterial): void;
  of(material: IdentityMaterial, role: Role): SecureContext;
  /** As `of`, for an outbound whose connections may resume earlier ones. */
  resuming(material: IdentityMaterial): SecureContext;
  /** As `of`, for an inbound that gives out tickets, good as long as nothing of `bound` changes. */
  giving(material: IdentityMaterial, listener: string, bound: readonly string[]): SecureContext;
}

/** What every context of ours is made of, of either role. */
export function contextOptions(
  material: IdentityMaterial,
  minVersion: MinVersion,
  tickets: boolean | TicketOptions = false,
): SecureContextOptions {
  return {
    cert: material.certPem,
    key: material.keyPem,
    // Never absent: without it Node would trust every public root for callers.
    ca: material.bundle.pem,
    minVersion,
    maxVersion: 'TLSv1.3',
    ecdhCurve: GROUPS,
    // A ticket outlives CA removal, revocation and expiry; resumption is off unless asked for. So is 1.2's renegotiation.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | (tickets === false ? constants.SSL_OP_NO_TICKET : 0),
    ...(typeof tickets === 'boolean'
      ? {}
      : {
          sessionIdContext: tickets.sessionIdContext,
          ticketKeys: tickets.ticketKeys,
          sessionTimeout: tickets.sessionTimeout,
        }),
  };
}

export function createTlsContexts(
  metrics: Pick<DataPlaneMetrics, 'contexts'>,
  minVersion: MinVersion,
  tickets: Tickets,
): TlsContexts {
  const plain = new WeakMap<IdentityMaterial, Map<Role, SecureContext>>();
  const resuming = new WeakMap<IdentityMaterial, SecureContext>();
  const giving = new Map<string, { readonly id: string; readonly context: SecureContext }>();
  const build = (role: Role, options: SecureContextOptions): SecureContext => {
    metrics.contexts.with({ role }).value++;
    return createSecureContext(options);
  };
  const of = (material: IdentityMaterial, role: Role): SecureContext => {
    let contexts = plain.get(material);
    if (contexts === undefined) {
      contexts = new Map();
      plain.set(material, contexts);
    }
    let context = contexts.get(role);
    if (context === undefined) {
      context = build(role, contextOptions(material, minVersion));
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
    resuming(material) {
      let context = resuming.get(material);
      if (context === undefined) {
        context = build('client', contextOptions(material, minVersion, true));
        resuming.set(material, context);
      }
      return context;
    },
    giving(material, listener, bound) {
      const made = tickets.of(material, [listener, ...bound]);
      const known = giving.get(listener);
      if (known?.id === made.id) return known.context;
      const context = build('server', contextOptions(material, minVersion, made.options()));
      giving.set(listener, { id: made.id, context });
      return context;
    },
  };
}
