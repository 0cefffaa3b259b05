import { createSecureContext } from 'node:tls';
import { type Clock, MINUTE, SECOND } from '../base/clock.ts';
import type { Readiness } from '../base/lifecycle.ts';
import type { Logger } from '../base/log.ts';
import type { KubeApi } from './client.ts';
import { createBell, repeat } from './repeat.ts';
import { secretClient } from './secret-client.ts';
import { publishedRoots } from './trust-config-map.ts';
import { type WatchNeeds, watchObject } from './watch.ts';
import type { Watched } from './watch-metrics.ts';
import { ensureAuthority, issueServing, LEAF_MS } from './webhook-authority.ts';
import { reconcileBundle } from './webhook-bundle.ts';

interface StateOptions {
  readonly api: KubeApi;
  readonly watch: WatchNeeds;
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

/** While each change is told, and while it may not be. */
const PAUSE_MS = { watched: MINUTE, unwatched: 5 * SECOND };
/** API servers learn of a bundle a moment after it was written. */
const SETTLED_MS = 5 * SECOND;
const BETWEEN_WRITES_MS = SECOND;

/**
 * Follows what the webhook needs of the cluster: its CA, its place in the configuration, the roots of the manager. What is
 * told of one of them is a reason to read all three, so that no event is worth more than that. Blocks readiness with a
 * reason for each that is not in order.
 */
export function followState(options: StateOptions): WebhookState {
  const { api, watch, namespace, service, configuration, trustDomain, readiness, clock, log, signal, serve } = options;
  const secrets = secretClient(api);
  let roots: readonly string[] = [];
  let serving: { readonly notAfter: number; readonly under: string } | undefined;
  let published: { readonly bundle: string; readonly since: number } | undefined;
  let isSettled = false;

  const follow = async () => {
    const authority = await ensureAuthority({ secrets, namespace, clock });
    const { bundle } = authority;
    const outcome = await reconcileBundle(api, configuration, bundle);
    if (outcome === 'written') {
      log.info({ event: 'ca_bundle_written', configuration }, `${configuration} has our CA now`);
    }
    const now = clock.now();
    if (outcome === 'missing') published = undefined;
    else if (published?.bundle !== bundle) published = { bundle, since: now };
    // Before, a new CA does not sign.
    const mayChange = serving === undefined || (published !== undefined && now - published.since >= SETTLED_MS);
    const { fingerprint256 } = authority.signer.certificate;
    const old = serving === undefined || serving.notAfter - now < LEAF_MS / 3;
    if (old || (mayChange && serving?.under !== fingerprint256)) {
      const leaf = await issueServing(authority, { service, namespace, trustDomain }, now);
      createSecureContext(leaf);
      serve(leaf);
      serving = { notAfter: leaf.notAfter, under: fingerprint256 };
    }
    isSettled = serving?.under === fingerprint256;
    if (outcome === 'missing') readiness.block('webhook', `there is no MutatingWebhookConfiguration ${configuration}`);
    else readiness.unblock('webhook');
    roots = await publishedRoots(api, namespace);
    if (roots.length === 0) readiness.block('trust', `the manager has not published its roots in ${namespace}`);
    else readiness.unblock('trust');
    // Whoever writes another one as fast as it is told must not keep the API server busy.
    if (outcome === 'written') await clock.sleep(BETWEEN_WRITES_MS, signal);
  };

  readiness.block('webhook', 'the CA of the webhook is being looked up');
  readiness.block('trust', 'the roots of the manager are being looked up');
  const bell = createBell();
  const watches = WATCHED.map(({ resource, path, name }) =>
    watchObject(
      { resource, path: path(namespace), name: name ?? configuration },
      { ...options, ...watch, onChange: bell.ring },
    ),
  );
  const following = repeat({
    work: follow,
    pause(failures) {
      const isWatched = failures === 0 && isSettled && watches.every((one) => one.isOpen());
      return isWatched ? PAUSE_MS.watched : PAUSE_MS.unwatched;
    },
    bell,
    onFailure({ code, why, message }) {
      log.error({ event: 'webhook_state_failed', code, why }, message);
      if (serving === undefined) readiness.block('webhook', `${message}: ${why ?? code}`);
    },
    ...{ clock, signal },
  });
  const ended = Promise.all([following, ...watches.map((one) => one.ended)]).then(() => {});
  return { roots: () => roots, ended };
}

const WATCHED: ReadonlyArray<{
  readonly resource: Watched;
  readonly path: (namespace: string) => string;
  readonly name?: string;
}> = [
  {
    resource: 'mutatingwebhookconfigurations',
    path: () => '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
  },
  { resource: 'secrets', path: (namespace) => `/api/v1/namespaces/${namespace}/secrets`, name: 'sidelock-webhook-ca' },
  { resource: 'configmaps', path: (namespace) => `/api/v1/namespaces/${namespace}/configmaps`, name: 'sidelock-trust' },
];
