import type { Wanted } from './annotations.ts';
import { HEALTH_PORT, isObject, type Json, objects, textOf } from './names.ts';

/** What a sidecar asks an app for kubelet, as its config says it. */
interface AppProbe {
  readonly path: string;
  /** `http://127.0.0.1:8080/ready`, `tcp://127.0.0.1:5432` */
  readonly target: string;
  readonly headers?: ReadonlyArray<{ readonly name: string; readonly value: string }>;
}

const KINDS = { livenessProbe: 'livez', readinessProbe: 'readyz', startupProbe: 'startupz' } as const;
type ProbeKind = keyof typeof KINDS;

/** Probes of a container as they were, by kind. */
export type Originals = Readonly<Partial<Record<ProbeKind, unknown>>>;

interface Rewritten {
  readonly container: Json;
  readonly originals: Originals;
  readonly probes: readonly AppProbe[];
}

/**
 * The container with those of its probes answered by the sidecar that go to a port behind it: an app that listens on
 * 127.0.0.1 alone, as it should, is out of kubelet's reach. Probes by command or gRPC, and of other ports, stay.
 */
export function rewriteProbes(container: Json, { inbound, rewriteProbes: wanted }: Wanted): Rewritten {
  const originals: Partial<Record<ProbeKind, unknown>> = {};
  const probes: AppProbe[] = [];
  let changed = container;
  if (!wanted) return { container, originals, probes };
  for (const [kind, name] of Object.entries(KINDS) as Array<[ProbeKind, string]>) {
    const original = container[kind];
    const path = `${APP_HEALTH}${textOf(container, 'name')}/${name}`;
    const probe = isObject(original) ? probeOf(original, container, path) : undefined;
    if (!isObject(original) || probe === undefined || !inbound.some(({ target }) => target === probe.port)) continue;
    originals[kind] = original;
    probes.push(probe.probe);
    const { httpGet: _, tcpSocket: __, ...rest } = original;
    changed = { ...changed, [kind]: { ...rest, httpGet: { path, port: HEALTH_PORT } } };
  }
  return { container: changed, originals, probes };
}

/** The container with the probes it had; one that was written since is left alone. */
export function restoreProbes(container: Json, originals: Json): Json {
  let restored = container;
  for (const kind of Object.keys(KINDS)) {
    const now = container[kind];
    const ours = isObject(now) && textOf(now['httpGet'], 'path').startsWith(APP_HEALTH);
    if (ours && originals[kind] !== undefined) restored = { ...restored, [kind]: originals[kind] };
  }
  return restored;
}

const APP_HEALTH = '/app-health/';

function probeOf(
  probe: Json,
  container: Json,
  path: string,
): { readonly port: number; readonly probe: AppProbe } | undefined {
  const { httpGet, tcpSocket } = probe;
  const handler = isObject(httpGet) ? httpGet : tcpSocket;
  // A host of its own is another machine, or means something we do not know.
  if (!isObject(handler) || textOf(handler, 'host') !== '') return undefined;
  const port = portOf(handler['port'], container);
  if (port === undefined) return undefined;
  if (!isObject(httpGet)) return { port, probe: { path, target: `tcp://127.0.0.1:${port}` } };
  const scheme = textOf(httpGet, 'scheme').toLowerCase() === 'https' ? 'https' : 'http';
  const asked = textOf(httpGet, 'path') || '/';
  const target = `${scheme}://127.0.0.1:${port}${asked.startsWith('/') ? '' : '/'}${asked}`;
  const headers = objects(httpGet['httpHeaders']).map((header) => ({
    name: textOf(header, 'name'),
    value: textOf(header, 'value'),
  }));
  return { port, probe: { path, target, ...(headers.length === 0 ? {} : { headers }) } };
}

/** By number, or by the name it has in this container. */
function portOf(port: unknown, { ports }: Json): number | undefined {
  if (typeof port === 'number') return port;
  const named = objects(ports).find((one) => textOf(one, 'name') === port)?.['containerPort'];
  return typeof named === 'number' ? named : undefined;
}
