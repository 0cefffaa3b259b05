import type { KubeApi } from './client.ts';
import { isObject } from './names.ts';

/** What an account must be able to do. */
export interface Right {
  readonly verb: string;
  readonly group?: string;
  readonly resource: string;
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
      return isObject(status) && status['allowed'] === true ? [] : [sentence(right)];
    }),
  );
  return asked.flat();
}

function sentence({ verb, group, resource, name, namespace }: Right): string {
  const what = group === undefined ? resource : `${resource}.${group}`;
  return `${verb} ${what}${name === undefined ? '' : ` ${name}`}${namespace === undefined ? '' : ` in namespace ${namespace}`}`;
}
