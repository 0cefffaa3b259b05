import { isIPv6 } from 'node:net';
import { type Clock, SECOND } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { KubeApi } from './client.ts';
import { MANAGER_LEASE } from './lease.ts';
import { isObject, type Json, MANAGED_BY } from './names.ts';
import { repeat } from './repeat.ts';

interface EndpointOptions {
  readonly api: Pick<KubeApi, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  /** IP address of this pod. */
  readonly address: string;
  /** Of the API. */
  readonly port: number;
  readonly holds: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const EVERY_MS = 5 * SECOND;

/**
 * Lets the Service of the manager, which selects no pods, lead to this one, whoever changes that. Followers are ready and
 * get no connection. Resolves when the signal aborts.
 */
export async function keepEndpoint(options: EndpointOptions): Promise<void> {
  const { api, namespace, address, holds, clock, log, signal } = options;
  const all = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
  const keep = async () => {
    const found = await api.get(`${all}/${MANAGER_LEASE}`);
    if (found !== undefined && isTo(found, address)) return;
    // Of the version that was read: one that leads no more cannot write over the one that does.
    if (!holds()) return;
    const wanted = slice(options, found);
    const written =
      found === undefined ? await api.create(all, wanted) : await api.replace(`${all}/${MANAGER_LEASE}`, wanted);
    if (written !== undefined) log.info({ event: 'endpoint_set', address }, `Service ${MANAGER_LEASE} leads here`);
  };
  await repeat({
    work: keep,
    pause: (failures) => (failures === 0 ? EVERY_MS : SECOND),
    onFailure: ({ code, why, message }) =>
      log.error({ event: 'endpoint_not_set', code, why }, `Service ${MANAGER_LEASE} does not lead here: ${message}`),
    ...{ clock, signal },
  });
}

function isTo({ endpoints }: Json, address: string): boolean {
  return JSON.stringify(addressesOf(endpoints)) === JSON.stringify([address]);
}

function addressesOf(endpoints: unknown): unknown[] {
  if (!Array.isArray(endpoints)) return [];
  return endpoints.flatMap((endpoint) => (isObject(endpoint) ? endpoint['addresses'] : []));
}

function slice({ namespace, address, port }: EndpointOptions, found: Json | undefined): Json {
  const labels = {
    'kubernetes.io/service-name': MANAGER_LEASE,
    // Keeps the controllers of the cluster off it.
    'endpointslice.kubernetes.io/managed-by': 'sidelock',
    [MANAGED_BY.label]: MANAGED_BY.value,
  };
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: found?.['metadata'] ?? { namespace, name: MANAGER_LEASE, labels },
    addressType: isIPv6(address) ? 'IPv6' : 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true, serving: true, terminating: false } }],
    ports: [{ name: 'api', port, protocol: 'TCP' }],
  };
}
