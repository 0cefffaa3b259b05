import { tokenCommand } from '../base/commands.ts';
import { SidelockError } from '../base/errors.ts';
import { serviceOf } from '../pki/names.ts';
import type { CertStore } from '../store/store.ts';
import type { Subject } from './subject.ts';

/** The directory of a service has its bare name, so one name cannot serve two namespaces. @throws SL-NAME-004 */
export async function refuseOtherNamespace(store: CertStore, { service, namespace }: Subject): Promise<void> {
  const { leaf } = (await store.load(service)) ?? {};
  const held = leaf?.spiffeId === undefined ? undefined : serviceOf(leaf.spiffeId)?.namespace;
  if (held === undefined || held === namespace) return;
  throw new SidelockError('SL-NAME-004', `${service} of namespace ${namespace} cannot be kept in this store`, {
    why: `the directory ${service} holds the certificate of ${service} in namespace ${held}`,
    fix: `${tokenCommand({ service, namespace })}   lets its sidecar keep its own files`,
  });
}
