import type { KubeApi } from './client.ts';
import { isObject, type Json, objects, textOf } from './names.ts';

const API = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';

/**
 * Gives every webhook of the configuration our bundle, and takes nothing else of it from whoever wrote it: Helm, kubectl and
 * GitOps tools may all apply over it. @throws SL-KUBE-001, SL-KUBE-002
 */
export async function reconcileBundle(
  api: Pick<KubeApi, 'get' | 'apply'>,
  configuration: string,
  bundle: string,
): Promise<'same' | 'written' | 'missing'> {
  const path = `${API}/${configuration}`;
  const found = await api.get(path);
  if (found === undefined) return 'missing';
  const caBundle = Buffer.from(bundle).toString('base64');
  const webhooks = objects(found['webhooks']);
  if (webhooks.every(({ clientConfig }) => textOf(clientConfig, 'caBundle') === caBundle)) return 'same';
  const ours: Json = {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: configuration },
    webhooks: webhooks.map((webhook) => ({ name: textOf(webhook, 'name'), clientConfig: { caBundle } })),
  };
  return isObject(await api.apply(path, ours, { force: true })) ? 'written' : 'missing';
}
