import { type Clock, MINUTE, SECOND } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import type { KubeApi } from './client.ts';
import { isObject, type Json, MANAGED_BY, SIGNER, TRUST_BUNDLE, textOf } from './names.ts';
import { createBell, repeat } from './repeat.ts';
import { type WatchNeeds, watchObject } from './watch.ts';
import type { Watched } from './watch-metrics.ts';

/** Name of the ConfigMap with the roots of the manager. Nothing in it is secret. */
const TRUST = 'sidelock-trust';
const KEY = 'ca.crt';
/** How often our own bundle is compared with what was written, and what was written is read while it is watched, or not. */
const BUNDLE_MS = SECOND;
const LOOK_MS = { watched: MINUTE, unwatched: 5 * SECOND };

interface KeepOptions {
  readonly api: Pick<KubeApi, 'get' | 'create' | 'apply' | 'watch'>;
  readonly watch: WatchNeeds;
  readonly namespace: string;
  /** As a ClusterTrustBundle too, from which kubelet gives it to pods. */
  readonly clusterTrustBundle?: boolean;
  /** PEM. */
  readonly bundle: () => string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Keeps the bundle where webhook and kubelet find it, whoever changes or deletes it. Resolves when the signal aborts. */
export async function keepTrust(options: KeepOptions): Promise<void> {
  const { api, watch, namespace, clusterTrustBundle = false, bundle, clock, log, signal } = options;
  const places = clusterTrustBundle ? [configMapIn(namespace), CLUSTER_TRUST_BUNDLE] : [configMapIn(namespace)];
  const keep = async ({ all, name, what, part, inner }: Place, wanted: string) => {
    const found = await api.get(`${all}/${name}`);
    if (isObject(found) && textOf(found[part], inner) === wanted) return;
    const metadata = { name, labels: { [MANAGED_BY.label]: MANAGED_BY.value } };
    const object = { ...what, metadata, [part]: { ...(isObject(what[part]) ? what[part] : {}), [inner]: wanted } };
    if (found === undefined) await api.create(all, object);
    else await api.apply(`${all}/${name}`, object, { force: true });
    log.info({ event: 'trust_published', namespace, name }, `the trust bundle is in ${what['kind']} ${name}`);
    // Whoever writes another one as fast as it is told must not keep the API server busy.
    await clock.sleep(BUNDLE_MS, signal);
  };
  const keeping = places.map(async (place) => {
    const bell = createBell();
    let looked: { readonly bundle: string; readonly at: number } | undefined;
    const watched = watchObject(
      { resource: place.resource, path: place.all, name: place.name },
      {
        ...options,
        ...watch,
        onChange() {
          looked = undefined;
          bell.ring();
        },
      },
    );
    const looking = repeat({
      async work() {
        const now = { bundle: bundle(), at: clock.now() };
        const isKept = looked?.bundle === now.bundle && now.at - looked.at < LOOK_MS.watched;
        if (isKept && watched.isOpen()) return;
        looked = now;
        try {
          await keep(place, now.bundle);
        } catch (error) {
          looked = undefined;
          throw error;
        }
      },
      pause: (failures) => (failures === 0 && watched.isOpen() ? BUNDLE_MS : LOOK_MS.unwatched),
      bell,
      onFailure({ code, why, message }) {
        const what = `${place.what['kind']} ${place.name}`;
        log.error({ event: 'trust_not_published', code, why }, `the bundle is not in ${what}: ${message}`);
      },
      ...{ clock, signal },
    });
    await Promise.all([watched.ended, looking]);
  });
  await Promise.all(keeping);
}

interface Place {
  readonly resource: Watched;
  readonly all: string;
  readonly name: string;
  readonly what: Json;
  readonly part: string;
  readonly inner: string;
}

function configMapIn(namespace: string): Place {
  const what = { apiVersion: 'v1', kind: 'ConfigMap' };
  const all = `/api/v1/namespaces/${namespace}/configmaps`;
  return { resource: 'configmaps', all, name: TRUST, what, part: 'data', inner: KEY };
}

const CLUSTER_TRUST_BUNDLE: Place = {
  resource: 'clustertrustbundles',
  all: '/apis/certificates.k8s.io/v1/clustertrustbundles',
  name: TRUST_BUNDLE,
  what: { apiVersion: 'certificates.k8s.io/v1', kind: 'ClusterTrustBundle', spec: { signerName: SIGNER } },
  part: 'spec',
  inner: 'trustBundle',
};

/** SHA-256 of each root that is published; none when nothing is. @throws SL-KUBE-001, SL-KUBE-002, SL-PEM-* */
export async function publishedRoots(api: Pick<KubeApi, 'get'>, namespace: string): Promise<string[]> {
  const found = await api.get(`/api/v1/namespaces/${namespace}/configmaps/${TRUST}`);
  const pem = textOf(found?.['data'], KEY);
  if (pem === '') return [];
  return certificatesFromPem(pem, `ConfigMap ${namespace}/${TRUST}`).map(({ fingerprint256 }) => fingerprint256);
}
