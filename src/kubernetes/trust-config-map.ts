import { type Clock, SECOND } from '../base/clock.ts';
import { isAbort, isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import type { KubeApi } from './client.ts';
import { isObject, MANAGED_BY, textOf } from './names.ts';

/** The ConfigMap with the roots of the manager. Nothing in it is secret. */
const TRUST = 'sidelock-trust';
const KEY = 'ca.crt';
const EVERY_MS = 15 * SECOND;

interface KeepOptions {
  readonly api: Pick<KubeApi, 'get' | 'create' | 'apply'>;
  readonly namespace: string;
  /** PEM. */
  readonly bundle: () => string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Keeps the bundle where the webhook finds it, whoever changes or deletes it. Resolves when the signal aborts. */
export async function keepTrust({ api, namespace, bundle, clock, log, signal }: KeepOptions): Promise<void> {
  const all = `/api/v1/namespaces/${namespace}/configmaps`;
  let failed = false;
  const keep = async () => {
    const wanted = bundle();
    const found = await api.get(`${all}/${TRUST}`);
    if (isObject(found) && textOf(found['data'], KEY) === wanted) return;
    const labels = { [MANAGED_BY.label]: MANAGED_BY.value };
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: TRUST, labels }, data: { [KEY]: wanted } };
    if (found === undefined) await api.create(all, object);
    else await api.apply(`${all}/${TRUST}`, object, { force: true });
    log.info({ event: 'trust_published', namespace, configMap: TRUST }, `the trust bundle is in ${namespace}/${TRUST}`);
  };
  try {
    for (;;) {
      try {
        await keep();
        failed = false;
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        const fields = { event: 'trust_not_published', code: error.code, why: error.why };
        if (!failed) log.error(fields, `the trust bundle is not in ${namespace}/${TRUST}: ${error.message}`);
        failed = true;
      }
      await clock.sleep(EVERY_MS, signal);
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}

/** SHA-256 of each root that is published; none when nothing is. @throws SL-KUBE-001, SL-KUBE-002, SL-PEM-* */
export async function publishedRoots(api: Pick<KubeApi, 'get'>, namespace: string): Promise<string[]> {
  const found = await api.get(`/api/v1/namespaces/${namespace}/configmaps/${TRUST}`);
  const pem = textOf(found?.['data'], KEY);
  if (pem === '') return [];
  return certificatesFromPem(pem, `ConfigMap ${namespace}/${TRUST}`).map(({ fingerprint256 }) => fingerprint256);
}
