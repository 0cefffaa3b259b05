import { type InstallOptions, labels } from './manifest-parts.ts';
import { integrationManifests } from './manifests-integration.ts';
import { managerManifests } from './manifests-manager.ts';
import { webhookManifests } from './manifests-webhook.ts';
import type { Json } from './names.ts';

/** What is chosen unless the operator says otherwise. */
export function installDefaults(version: string) {
  return {
    namespace: 'sidelock-system',
    managerImage: `sidelock-manager:${version}`,
    sidecarImage: `sidelock-sidecar:${version}`,
    trustDomain: 'ai-teddy.local',
    failurePolicy: 'Ignore',
  } as const satisfies InstallOptions;
}

/** Everything that a cluster needs to run the manager and the webhook, in the order in which it is applied. Pure. */
export function installManifests(options: InstallOptions): Json[] {
  const { namespace, integrate = [] } = options;
  const restricted = ['enforce', 'audit', 'warn'].map((mode) => [`pod-security.kubernetes.io/${mode}`, 'restricted']);
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: { ...labels(), ...Object.fromEntries(restricted) } },
    },
    ...managerManifests(options),
    ...integrationManifests(integrate, namespace),
    ...webhookManifests(options),
  ];
}
