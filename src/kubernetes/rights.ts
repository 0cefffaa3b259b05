import { isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { KubeApi } from './client.ts';
import { MANAGER_LEASE } from './lease.ts';
import { isObject, SIGNER, TRUST_BUNDLE } from './names.ts';

/** What an account must be able to do. */
export interface Right {
  readonly verb: string;
  readonly group?: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
  readonly namespace?: string;
}

/** Those of the rights that this account does not have, in words. @throws SL-KUBE-001, SL-KUBE-002 */
export async function missingRights(api: Pick<KubeApi, 'create'>, rights: readonly Right[]): Promise<string[]> {
  const asked = await Promise.all(
    rights.map(async (right) => {
      const review = await api.create('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: right },
      });
      const status = review?.['status'];
      return isObject(status) && status['allowed'] === true ? [] : [rightInWords(right)];
    }),
  );
  return asked.flat();
}

/**
 * Logs what this account lacks, or that it could not be found out: it may have it all the same.
 * @param effect what does not work without them: `pods may not get certificates`
 */
export async function tellMissingRights(
  api: Pick<KubeApi, 'create'>,
  rights: readonly Right[],
  { log, effect }: { readonly log: Logger; readonly effect: string },
): Promise<void> {
  try {
    const missing = await missingRights(api, rights);
    const fields = { event: 'rights_missing', code: 'SL-KUBE-002', missing };
    if (missing.length > 0) log.error(fields, `${effect}: this account may not ${missing.join('; ')}`);
  } catch (error) {
    if (!isSidelockError(error)) throw error;
    log.warn({ event: 'rights_unknown', code: error.code, why: error.why }, error.message);
  }
}

/** All that the manager may be asked to do in a cluster; what the installation gives it, and no more. */
export function managerRights({
  namespace,
  podCertificates,
}: {
  /** Where it publishes its roots. */
  readonly namespace?: string | undefined;
  readonly podCertificates: boolean;
}): Right[] {
  const group = 'certificates.k8s.io';
  const publishing: Right[] = [
    { verb: 'create', resource: 'configmaps', namespace: namespace ?? '' },
    ...trustRights(namespace ?? '', ['get', 'watch', 'patch']),
  ];
  const signing: Right[] = [
    ...['list', 'watch'].map((verb) => ({ verb, group, resource: 'podcertificaterequests' })),
    { verb: 'update', group, resource: 'podcertificaterequests', subresource: 'status' },
    ...['sign', 'attest'].map((verb) => ({ verb, group, resource: 'signers', name: SIGNER })),
    { verb: 'create', group, resource: 'clustertrustbundles' },
    { verb: 'patch', group, resource: 'clustertrustbundles', name: TRUST_BUNDLE },
  ];
  return [
    { verb: 'create', group: 'authentication.k8s.io', resource: 'tokenreviews' },
    { verb: 'get', resource: 'pods' },
    ...['list', 'watch'].map((verb) => ({ verb, resource: 'services' })),
    ...(namespace === undefined ? [] : publishing),
    ...(podCertificates ? signing : []),
  ];
}

/** What it needs besides where several share the state and one leads; `endpoint` where it lets the Service lead to itself. */
export function leaderRights(namespace: string, endpoint: boolean): Right[] {
  const named = (group: string, resource: string, verbs: readonly string[]): Right[] => [
    { verb: 'create', group, resource, namespace },
    ...verbs.map((verb) => ({ verb, group, resource, namespace, name: MANAGER_LEASE })),
  ];
  return [
    ...named('coordination.k8s.io', 'leases', ['get', 'watch', 'update']),
    ...(endpoint ? named('discovery.k8s.io', 'endpointslices', ['get', 'update']) : []),
    ...['list', 'get', 'create', 'update', 'delete'].map((verb) => ({ verb, resource: 'secrets', namespace })),
  ];
}

/** All that the webhook may be asked to do. */
export function webhookRights(namespace: string, configuration: string): Right[] {
  const group = 'admissionregistration.k8s.io';
  const resource = 'mutatingwebhookconfigurations';
  return [
    ...['get', 'watch', 'patch'].map((verb) => ({ verb, group, resource, name: configuration })),
    { verb: 'create', resource: 'events' },
    ...trustRights(namespace, ['get', 'watch']),
    ...['get', 'watch', 'update'].map((verb) => ({
      verb,
      resource: 'secrets',
      name: 'sidelock-webhook-ca',
      namespace,
    })),
    { verb: 'create', resource: 'secrets', namespace },
  ];
}

function trustRights(namespace: string, verbs: readonly string[]): Right[] {
  return verbs.map((verb) => ({ verb, resource: 'configmaps', name: 'sidelock-trust', namespace }));
}

/** What an administrator runs to give it to an account: `NAME`, as `kubectl auth whoami` says it. */
export function grantOf({ verb, group, resource, subresource, name, namespace }: Right): string {
  const what = `${resource}${group === undefined ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
  const [within, kind] = namespace === undefined ? ['', 'clusterrole'] : [`-n ${namespace} `, 'role'];
  const role = `${verb}-${resource}`;
  const one = name === undefined ? '' : ` --resource-name=${name}`;
  return [
    `kubectl ${within}create ${kind} ${role} --verb=${verb} --resource=${what}${one}`,
    `kubectl ${within}create ${kind}binding ${role} --${kind}=${role} --user=NAME`,
  ].join('; ');
}

/** `list services in namespace shop` */
export function rightInWords({ verb, group, resource, subresource, name, namespace }: Right): string {
  const part = subresource === undefined ? resource : `${resource}/${subresource}`;
  const what = group === undefined ? part : `${part}.${group}`;
  return `${verb} ${what}${name === undefined ? '' : ` ${name}`}${namespace === undefined ? '' : ` in namespace ${namespace}`}`;
}
