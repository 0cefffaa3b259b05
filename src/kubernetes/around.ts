import { readAnnotations } from './annotations.ts';
import { spell } from './host-aliases.ts';
import { HEALTH_PORT, isObject, type Json, MANAGED_BY, objects, textOf } from './names.ts';
import { selects } from './selects.ts';

/** A pod whose ports are behind its sidecar. */
export interface Guarded {
  /** `Deployment/orders` */
  readonly of: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly inbound: ReadonlyArray<{ readonly listen: number; readonly target: number }>;
  /** Numbers of the ports that its containers name. */
  readonly named: ReadonlyMap<string, number>;
  /** False while callers without TLS are served too. */
  readonly strict: boolean;
}

/** What of a pod with a sidecar should be reached through it; undefined where nothing should. @throws Refusal */
export function guarded({ metadata, spec }: Json, of: string, namespace: string): Guarded | undefined {
  const { inbound, mode } = readAnnotations(isObject(metadata) ? metadata['annotations'] : undefined);
  if (inbound.length === 0) return undefined;
  const labels = isObject(metadata) && isObject(metadata['labels']) ? metadata['labels'] : {};
  const ports = objects(isObject(spec) ? spec['containers'] : undefined).flatMap(({ ports }) => objects(ports));
  const named = ports.flatMap((port) => {
    const name = textOf(port, 'name');
    return name === '' ? [] : [[name, Number(port['containerPort'])] as const];
  });
  return { of, namespace, labels, inbound, named: new Map(named), strict: mode === 'strict' };
}

/** Ports of Services that lead past the sidecar of a pod, in words, with what to write instead. The Services stay theirs. */
export function leadPast(services: readonly Json[], pods: readonly Guarded[]): string[] {
  return services.flatMap((service) => {
    const { metadata, spec } = service;
    const selected = pods.filter(
      ({ namespace, labels }) => namespace === textOf(metadata, 'namespace') && selects(service, labels),
    );
    return objects(isObject(spec) ? spec['ports'] : undefined).flatMap(({ port, targetPort = port }) =>
      selected.flatMap(({ of, inbound, named }) => {
        const number = typeof targetPort === 'string' ? named.get(targetPort) : targetPort;
        const past = inbound.find(({ target }) => target === number);
        if (past === undefined) return [];
        const what = `Service/${textOf(metadata, 'name')}: port ${port} leads past the sidecar of ${of}`;
        return [`${what}, to ${past.target}; set its targetPort to ${past.listen}`];
      }),
    );
  });
}

/** A pod in which names of Services mean its sidecar. */
export interface Aliased {
  readonly of: string;
  readonly namespace: string;
  /** Ports that are served by `NAMESPACE/SERVICE`. */
  readonly ports: ReadonlyMap<string, readonly number[]>;
}

/** Undefined where no names are led. @throws Refusal */
export function aliased({ metadata }: Json, of: string, namespace: string): Aliased | undefined {
  const { hostAliases, upstreams } = readAnnotations(isObject(metadata) ? metadata['annotations'] : undefined);
  if (!hostAliases) return undefined;
  const within = namespace || textOf(metadata, 'namespace');
  const byName = Map.groupBy(upstreams, (upstream) => {
    const spelled = spell(upstream, within);
    return `${spelled.namespace}/${spelled.short}`;
  });
  const ports = [...byName].map(([name, some]) => [name, some.map(({ listen }) => listen)] as const);
  return { of, namespace: within, ports: new Map(ports) };
}

/** Ports of Services that a pod can no more reach by name, or goes past its sidecar to, in words. */
export function notLed(services: readonly Json[], pods: readonly Aliased[]): string[] {
  return services.flatMap(({ metadata, spec }) => {
    const name = textOf(metadata, 'name');
    return pods.flatMap(({ of, namespace, ports }) => {
      const led = ports.get(`${textOf(metadata, 'namespace') || namespace}/${name}`);
      if (led === undefined) return [];
      const headless = textOf(spec, 'clusterIP') === 'None';
      const past = `Service/${name} is headless: names of single pods in it lead past the sidecar of ${of}`;
      const lost = objects(isObject(spec) ? spec['ports'] : undefined).flatMap(({ port, protocol = 'TCP' }) => {
        if (protocol === 'TCP' && led.some((one) => one === port)) return [];
        const fix = protocol === 'TCP' ? 'name it in upstreams' : 'leave out host-aliases';
        return [`Service/${name}: nothing answers ${of} at its port ${port} (${protocol}) any more; ${fix}`];
      });
      return [...(headless ? [past] : []), ...lost];
    });
  });
}

/** Lets callers reach the sidecar, kubelet its health, and nobody the app; undefined where that would cut somebody off. */
export function networkPolicyFor({ of, namespace, labels, inbound, strict }: Guarded): Json | undefined {
  // Without labels it would select every pod there is.
  if (!strict || Object.keys(labels).length === 0) return undefined;
  const ports = [...inbound.map(({ listen }) => listen), HEALTH_PORT].map((port) => ({ protocol: 'TCP', port }));
  const name = `${of.slice(of.indexOf('/') + 1)}-sidecar-only`;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: {
      name,
      ...(namespace === '' ? {} : { namespace }),
      labels: { [MANAGED_BY.label]: MANAGED_BY.value },
    },
    spec: { podSelector: { matchLabels: labels }, policyTypes: ['Ingress'], ingress: [{ ports }] },
  };
}
