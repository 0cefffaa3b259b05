import type { ApiServer } from '../test/cluster/api-server.ts';

const SPACES = 20;
const AT_ONCE = 16;

export const spaceOf = (n: number) => `space-${n % SPACES}`;

/** Does it for each number below `count`, 16 at once; ms that each took, the shortest first. */
export async function each(count: number, work: (n: number) => Promise<unknown>): Promise<number[]> {
  const took: number[] = [];
  let next = 0;
  const run = async () => {
    for (let n = next++; n < count; n = next++) {
      const from = performance.now();
      await work(n);
      took.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, run));
  return took.sort((a, b) => a - b);
}

export function quantile(sorted: readonly number[], share: number): number {
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
}

/** Pods `pod-N` of account `app` and Services `app-N` that select them, in 20 namespaces; UIDs of the pods. */
export async function makeCrowd(server: ApiServer, pods: number, services: number): Promise<string[]> {
  for (let n = 0; n < SPACES; n++) {
    await server.must('POST', '/api/v1/namespaces', { metadata: { name: spaceOf(n) } });
    await server.must('POST', `/api/v1/namespaces/${spaceOf(n)}/serviceaccounts`, { metadata: { name: 'app' } });
  }
  await each(services, (n) => {
    const spec = { selector: { app: `app-${n}` }, ports: [{ port: 80 }], clusterIP: 'None' };
    return server.must('POST', `/api/v1/namespaces/${spaceOf(n)}/services`, { metadata: { name: `app-${n}` }, spec });
  });
  const uids: string[] = [];
  await each(pods, async (n) => {
    const spec = { serviceAccountName: 'app', nodeName: 'n1', containers: [{ name: 'app', image: 'app' }] };
    const metadata = { name: `pod-${n}`, labels: { app: `app-${n % services}` } };
    const made = await server.must('POST', `/api/v1/namespaces/${spaceOf(n)}/pods`, { metadata, spec });
    uids[n] = (made['metadata'] as { readonly uid: string }).uid;
  });
  return uids;
}

/** A token of the account `app`, for the manager, as kubelet makes it. */
export async function tokenOfPod(server: ApiServer, n: number, uid = ''): Promise<string> {
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: `pod-${n}`, uid };
  return await server.tokenOf(spaceOf(n), 'app', { audiences: ['certificate.ai-teddy.com/ca'], boundObjectRef });
}
