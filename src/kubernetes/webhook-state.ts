import { createSecureContext } from 'node:tls';
import { type Clock, SECOND } from '../base/clock.ts';
import { isAbort, isSidelockError } from '../base/errors.ts';
import type { Readiness } from '../base/lifecycle.ts';
import type { Logger } from '../base/log.ts';
import type { KubeApi } from './client.ts';
import { secretClient } from './secret-client.ts';
import { publishedRoots } from './trust-config-map.ts';
import { ensureAuthority, issueServing, LEAF_MS } from './webhook-authority.ts';
import { reconcileBundle } from './webhook-bundle.ts';

interface StateOptions {
  readonly api: KubeApi;
  readonly namespace: string;
  readonly service: string;
  /** Name of the MutatingWebhookConfiguration. */
  readonly configuration: string;
  readonly trustDomain: string;
  readonly readiness: Readiness;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** A certificate for the server, now and whenever there is a new one. */
  readonly serve: (identity: { readonly cert: string; readonly key: string }) => void;
}

interface WebhookState {
  /** Of the manager, SHA-256; empty until they are known. */
  roots(): readonly string[];
  /** Resolves when the signal aborts. */
  readonly ended: Promise<void>;
}

const EVERY_MS = 5 * SECOND;

/**
 * Follows what the webhook needs of the cluster: its CA, its place in the configuration, the roots of the manager. Looks
 * rather than watches: three small objects, and a missed event would be a webhook that nobody trusts. Blocks readiness
 * with a reason for each that is not in order.
 */
export function followState(options: StateOptions): WebhookState {
  const { api, namespace, service, configuration, trustDomain, readiness, clock, log, signal, serve } = options;
  const secrets = secretClient(api);
  let roots: readonly string[] = [];
  let serving: { readonly notAfter: number; readonly under: string } | undefined;
  let published: string | undefined;

  const follow = async () => {
    const authority = await ensureAuthority({ secrets, namespace, clock });
    const { bundle } = authority;
    const outcome = await reconcileBundle(api, configuration, bundle);
    if (outcome === 'written') {
      log.info({ event: 'ca_bundle_written', configuration }, `${configuration} has our CA now`);
    }
    // A new CA signs once its bundle has been out for a round: API servers learn of it a moment later.
    const settled = published === bundle || serving === undefined;
    published = outcome === 'missing' ? undefined : bundle;
    const now = clock.now();
    const { fingerprint256 } = authority.signer.certificate;
    const old = serving === undefined || serving.notAfter - now < LEAF_MS / 3;
    if (old || (settled && serving?.under !== fingerprint256)) {
      const leaf = await issueServing(authority, { service, namespace, trustDomain }, now);
      createSecureContext(leaf);
      serve(leaf);
      serving = { notAfter: leaf.notAfter, under: fingerprint256 };
    }
    if (outcome === 'missing') readiness.block('webhook', `there is no MutatingWebhookConfiguration ${configuration}`);
    else readiness.unblock('webhook');
    roots = await publishedRoots(api, namespace);
    if (roots.length === 0) readiness.block('trust', `the manager has not published its roots in ${namespace}`);
    else readiness.unblock('trust');
  };

  const loop = async () => {
    let told: string | undefined;
    for (;;) {
      try {
        await follow();
        told = undefined;
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        const { code, why, message } = error;
        if (told !== message) log.error({ event: 'webhook_state_failed', code, why }, message);
        told = message;
        if (serving === undefined) readiness.block('webhook', `${message}: ${why ?? code}`);
      }
      await clock.sleep(EVERY_MS, signal);
    }
  };

  readiness.block('webhook', 'the CA of the webhook is being looked up');
  readiness.block('trust', 'the roots of the manager are being looked up');
  const ended = loop().catch((error: unknown) => {
    if (!isAbort(error)) throw error;
  });
  return { roots: () => roots, ended };
}
