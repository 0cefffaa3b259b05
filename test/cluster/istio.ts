/** Istio's API as far as we write it. */
export const ISTIO = [
  { group: 'security.istio.io', kind: 'PeerAuthentication', plural: 'peerauthentications' },
  { group: 'networking.istio.io', kind: 'DestinationRule', plural: 'destinationrules' },
].map(({ group, kind, plural }) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: 'Namespaced',
    names: { kind, plural, singular: kind.toLowerCase() },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
}));
