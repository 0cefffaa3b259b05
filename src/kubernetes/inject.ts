import { isAsked, readAnnotations, STATUS, type Wanted } from './annotations.ts';
import { appVariables, type InjectSettings, identityVolumes, sidecarContainer, usesToken } from './container.ts';
import { checkOwnName, type HostAlias, leadNames, PORT_SYSCTL, portSysctl } from './host-aliases.ts';
import {
  ADMIN_PORT,
  CONTAINER,
  DOMAIN,
  HEALTH_PORT,
  INJECT_LABEL,
  isObject,
  type Json,
  objects,
  SIDECAR_UID,
  TOKEN_VOLUME,
  textOf,
  VOLUME,
} from './names.ts';
import { rewriteProbes } from './probes.ts';
import { Refusal, type RefusalReason } from './refusal.ts';
import { type Added, takeOut } from './uninject.ts';

/** `pod` is the given object itself unless injected. */
export type Injection =
  | { readonly outcome: 'injected'; readonly pod: Json; readonly service: string }
  | { readonly outcome: 'skipped'; readonly pod: Json; readonly reason: 'not-asked' | 'disabled' }
  | {
      readonly outcome: 'refused';
      readonly pod: Json;
      readonly reason: RefusalReason;
      readonly why: string;
      readonly fix: string;
    };

/**
 * A pod (or the template of one: `metadata` and `spec`) with its sidecar. Pure; injecting again gives the same, and
 * `uninject` takes away what was added and nothing else. A pod that has none of our annotations is left alone.
 * @param namespace where the pod is going to be, where that is known and the pod does not say it
 */
export function inject(pod: Json, settings: InjectSettings, namespace = ''): Injection {
  const bare = takeOut(pod);
  const metadata = isObject(bare['metadata']) ? bare['metadata'] : {};
  const label = textOf(metadata['labels'], INJECT_LABEL);
  if (label === 'disabled') return { outcome: 'skipped', pod, reason: 'disabled' };
  if (label !== 'enabled' && !isAsked(metadata['annotations'])) return { outcome: 'skipped', pod, reason: 'not-asked' };
  try {
    const spec = bare['spec'];
    if (!isObject(spec) || objects(spec['containers']).length === 0) {
      throw new Refusal('not-a-pod', 'it has no containers', 'correct the manifest');
    }
    checkSurroundings(spec, metadata);
    const asked = readAnnotations(metadata['annotations']);
    const { wanted, aliases } = leadNames(asked, { spec, metadata, namespace });
    if (wanted.inbound.length === 0 && wanted.upstreams.length === 0) {
      const fix = `annotate the pod with ${DOMAIN}/inbound or ${DOMAIN}/upstreams`;
      throw new Refusal('nothing-to-do', 'it names neither a port to protect nor an upstream', fix);
    }
    const service = serviceOf(wanted, spec, settings);
    checkOwnName(aliases, service);
    checkClashes(spec, wanted);
    return { outcome: 'injected', pod: add({ bare, spec, metadata, wanted, aliases, service, settings }), service };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { outcome: 'refused', pod, reason: error.reason, why: error.message, fix: error.fix };
  }
}

interface Adding {
  readonly bare: Json;
  readonly spec: Json;
  readonly metadata: Json;
  readonly wanted: Wanted;
  readonly aliases: readonly HostAlias[];
  readonly service: string;
  readonly settings: InjectSettings;
}

function add({ bare, spec, metadata, wanted, aliases, service, settings }: Adding): Json {
  const variables = appVariables(wanted);
  const env: Record<string, string[]> = {};
  const made: string[] = [];
  const listOf = (object: Json, key: string, path: string): readonly unknown[] => {
    const value = object[key];
    if (Array.isArray(value)) return value;
    made.push(path);
    return [];
  };
  const withVariables = (container: unknown): unknown => {
    if (!isObject(container) || variables.length === 0) return container;
    const name = textOf(container, 'name');
    const before = listOf(container, 'env', `env.${name}`);
    const own = new Set(objects(before).map((variable) => textOf(variable, 'name')));
    const added = variables.filter((variable) => !own.has(variable.name));
    env[name] = added.map((variable) => variable.name);
    // First, so that the app's own variables can refer to them.
    return { ...container, env: [...added, ...before] };
  };
  const probes: object[] = [];
  const originals: Record<string, object> = {};
  const withProbes = (container: unknown): unknown => {
    if (!isObject(container)) return container;
    const rewritten = rewriteProbes(container, wanted);
    if (rewritten.probes.length > 0) originals[textOf(container, 'name')] = rewritten.originals;
    probes.push(...rewritten.probes);
    return rewritten.container;
  };
  const edited = (container: unknown) => withVariables(withProbes(container));
  const containers = listOf(spec, 'containers', '').map(edited);
  const initContainers = listOf(spec, 'initContainers', 'spec.initContainers').map(edited);
  const volumes = [...listOf(spec, 'volumes', 'spec.volumes'), ...identityVolumes(service, settings)];
  const hostAliases = [...(aliases.length === 0 ? [] : listOf(spec, 'hostAliases', 'spec.hostAliases')), ...aliases];
  const security = secured(spec, { wanted, settings, made });
  if (!isObject(bare['metadata'])) made.push('metadata');
  if (!isObject(metadata['annotations'])) made.push('metadata.annotations');
  const annotations = isObject(metadata['annotations']) ? metadata['annotations'] : {};
  const rewritten = probes.length === 0 ? {} : { probes: originals };
  const named = aliases.length === 0 ? {} : { aliases: aliases.map(({ ip }) => ip) };
  const added: Added = { version: settings.version, env, made, ...rewritten, ...named };
  return {
    ...bare,
    metadata: { ...metadata, annotations: { ...annotations, [STATUS]: JSON.stringify(added) } },
    spec: {
      ...spec,
      initContainers: [sidecarContainer(wanted, { service, probes }, settings), ...initContainers],
      containers,
      volumes,
      ...(aliases.length === 0 ? {} : { hostAliases }),
      ...(security === undefined ? {} : { securityContext: security }),
    },
  };
}

/** What the pod needs besides, undefined where it is nothing. */
function secured(
  spec: Json,
  { wanted, settings, made }: Pick<Adding, 'wanted' | 'settings'> & { readonly made: string[] },
): Json | undefined {
  const security = isObject(spec['securityContext']) ? spec['securityContext'] : {};
  // Kubelet makes files of such a volume root's own; a group is how another user may read a key that is not open to all.
  const needsGroup = !usesToken(settings) && security['fsGroup'] === undefined;
  const sysctls = portSysctl(security, wanted);
  if (!needsGroup && sysctls.length === 0) return undefined;
  if (needsGroup) made.push('spec.securityContext.fsGroup');
  if (sysctls.length > 0) made.push(PORT_SYSCTL);
  if (sysctls.length > 0 && !Array.isArray(security['sysctls'])) made.push('spec.securityContext.sysctls');
  if (!isObject(spec['securityContext'])) made.push('spec.securityContext');
  return {
    ...security,
    ...(needsGroup ? { fsGroup: SIDECAR_UID } : {}),
    ...(sysctls.length > 0 ? { sysctls: [...objects(security['sysctls']), ...sysctls] } : {}),
  };
}

const MESHES = new Set(['istio-proxy', 'istio-init', 'istio-validation', 'linkerd-proxy', 'linkerd-init']);

function checkSurroundings(spec: Json, { annotations, labels }: Json): void {
  if (spec['hostNetwork'] === true) {
    const why = 'it uses the network of its node, where the ports of the sidecar would be open to all';
    throw new Refusal('host-network', why, 'remove hostNetwork, or leave this pod without a sidecar');
  }
  if (textOf(spec['os'], 'name') === 'windows' || textOf(spec['nodeSelector'], 'kubernetes.io/os') === 'windows') {
    throw new Refusal('windows', 'it runs on Windows, and the sidecar on Linux only', 'leave it without a sidecar');
  }
  const mesh =
    [...objects(spec['containers']), ...objects(spec['initContainers'])].some((c) => MESHES.has(textOf(c, 'name'))) ||
    textOf(annotations, 'sidecar.istio.io/inject') === 'true' ||
    textOf(labels, 'sidecar.istio.io/inject') === 'true' ||
    textOf(annotations, 'linkerd.io/inject') === 'enabled';
  if (mesh) {
    const why = 'it has the sidecar of Istio or Linkerd, which speaks mTLS already';
    throw new Refusal('other-mesh', why, 'take one of the two away');
  }
}

function serviceOf({ service }: Wanted, spec: Json, { manager, podCertificates }: InjectSettings): string {
  const account = textOf(spec, 'serviceAccountName');
  const isProven = manager !== undefined || podCertificates === true;
  if (isProven && service !== undefined && service !== (account || 'default')) {
    const why = `it is to be ${service}, but its cluster will say ${account || 'default'}, the ServiceAccount it runs as`;
    throw new Refusal('other-account', why, `give it serviceAccountName: ${service}`);
  }
  const name = service ?? (account === 'default' ? '' : account);
  if (name !== '') return name;
  const fix = `annotate the pod with ${DOMAIN}/service: NAME, or give it a ServiceAccount of its own`;
  throw new Refusal('no-service', 'nothing says which service this is', fix);
}

function checkClashes(spec: Json, { inbound, upstreams, hostAliases }: Wanted): void {
  const containers = [...objects(spec['containers']), ...objects(spec['initContainers'])];
  const taken = containers.some((container) => textOf(container, 'name') === CONTAINER)
    ? `a container called ${CONTAINER}`
    : objects(spec['volumes'])
        .map((volume) => textOf(volume, 'name'))
        .filter((name) => name === VOLUME || name === TOKEN_VOLUME)
        .map((name) => `a volume called ${name}`)[0];
  if (taken !== undefined) throw new Refusal('name-clash', `it has ${taken} of its own`, 'rename it');

  const places = [
    ...inbound.map(({ listen }) => ({ at: EVERYWHERE, listen })),
    ...upstreams,
    ...[HEALTH_PORT, ADMIN_PORT].map((listen) => ({ at: EVERYWHERE, listen })),
  ];
  const twice = places.find(({ at, listen }, i) =>
    places.some((other, j) => {
      const meet = at === other.at || at === EVERYWHERE || other.at === EVERYWHERE;
      return j < i && other.listen === listen && meet;
    }),
  );
  if (twice !== undefined) {
    throw new Refusal('port-clash', `the sidecar would listen twice on port ${twice.listen}`, 'choose another port');
  }
  const ours = places.map(({ listen }) => listen);
  const loop = inbound.find(({ target }) => ours.includes(target));
  if (loop !== undefined) {
    throw new Refusal('port-clash', `port ${loop.target} is the sidecar's own`, 'name the port of the app');
  }
  const led = hostAliases ? upstreams.map(({ listen }) => listen) : [];
  for (const container of containers) {
    const port =
      portsOf(container).find((one) => ours.includes(one)) ?? probed(container).find((one) => led.includes(one));
    if (port === undefined) continue;
    const why = `container ${textOf(container, 'name')} has port ${port}, where the sidecar would listen`;
    throw new Refusal('port-clash', why, 'let the app listen on another port, or the sidecar');
  }
}

const EVERYWHERE = '0.0.0.0';

/** By TCP, as far as the container says. */
function portsOf({ ports }: Json): number[] {
  return objects(ports)
    .filter(({ protocol }) => protocol !== 'UDP' && protocol !== 'SCTP')
    .map(({ containerPort }) => Number(containerPort));
}

/** Ports where its probes find it: it listens there too. */
function probed(container: Json): number[] {
  return ['startupProbe', 'readinessProbe', 'livenessProbe'].flatMap((kind) =>
    objects([container[kind]]).flatMap(({ httpGet, tcpSocket, grpc }) =>
      objects([httpGet, tcpSocket, grpc]).map(({ port }) => Number(port)),
    ),
  );
}
