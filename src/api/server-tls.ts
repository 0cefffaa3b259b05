import { constants } from 'node:crypto';
import type { Server } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { type Clock, MINUTE } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Manager } from '../manager/manager.ts';
import type { IdentityMaterial } from '../pki/material.ts';

/**
 * A client certificate is asked for and never judged by OpenSSL: enrolment comes without one, and an expired leaf
 * may still be renewed for a while. No tickets: a resumed session would show the leaf without its chain.
 */
export function contextOptions({ certPem, keyPem, bundle }: IdentityMaterial): SecureContextOptions {
  return {
    cert: certPem,
    key: keyPem,
    ca: bundle.pem,
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

interface KeepOptions {
  readonly manager: Manager;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Serves new connections with each new certificate of the manager. Ends with the signal; never rejects. */
export async function keepIdentity(server: Server, first: IdentityMaterial, options: KeepOptions): Promise<void> {
  const { manager, log, signal } = options;
  let served = first;
  while (!signal.aborted) {
    try {
      await minuteOrStep(options);
      const next = await manager.managerIdentity();
      if (next === served) continue;
      server.setSecureContext(contextOptions(next));
      served = next;
      log.info({ event: 'own_identity_renewed', serial: next.leaf.serial }, 'the API has a new certificate');
    } catch (error) {
      if (!isAbort(error)) log.error({ event: 'own_identity_failed', err: error }, 'the API keeps its certificate');
    }
  }
}

/** A step on trust gives a new certificate at once: its root may be one that nobody trusts any more. */
async function minuteOrStep({ manager: { trust }, clock, signal }: KeepOptions): Promise<void> {
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  const step = trust.whenNot(trust.generation(), either);
  try {
    await Promise.race([clock.sleep(MINUTE, either), step]);
  } finally {
    done.abort();
    await step;
  }
  signal.throwIfAborted();
}
