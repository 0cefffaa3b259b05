import { createHash } from 'node:crypto';
import type { Upstream, Wanted } from './annotations.ts';
import { type Json, objects, textOf } from './names.ts';
import { Refusal } from './refusal.ts';

/** A line of the hosts file that all containers of a pod get. */
export interface HostAlias {
  readonly ip: string;
  readonly hostnames: readonly string[];
}

/** Lets who is not root listen below 1024. Safe as Kubernetes sees it, and within Pod Security `restricted`. */
export const PORT_SYSCTL = 'net.ipv4.ip_unprivileged_port_start';

interface Surroundings {
  readonly spec: Json;
  readonly metadata: Json;
  /** Empty where nobody says it. */
  readonly namespace: string;
}

/**
 * Where `host-aliases` is asked for: a loopback address for each upstream, by which every spelling of its name is found in
 * the pod, so that several can have one port. The sidecar itself asks for the whole name. Else what was given.
 * @throws Refusal `host-alias`
 */
export function leadNames(
  wanted: Wanted,
  { spec, metadata, namespace }: Surroundings,
): { readonly wanted: Wanted; readonly aliases: readonly HostAlias[] } {
  if (!wanted.hostAliases) return { wanted, aliases: [] };
  const within = namespace || textOf(metadata, 'namespace');
  const existing = objects(spec['hostAliases']);
  const taken = new Set(existing.map((one) => textOf(one, 'ip')));
  const theirs = new Set([
    ...existing.flatMap(({ hostnames }) => (Array.isArray(hostnames) ? hostnames.map(String) : [])),
    // Kubelet writes these with the address of the pod, before ours.
    textOf(spec, 'hostname'),
    textOf(metadata, 'name'),
  ]);
  const addresses = new Map<string, string>();
  const aliases: HostAlias[] = [];
  const upstreams = wanted.upstreams.map((upstream): Upstream => {
    const { whole, spellings, short } = spell(upstream, within);
    let at = addresses.get(whole);
    if (at === undefined) {
      const clash = spellings.find((name) => theirs.has(name));
      if (clash !== undefined) {
        const fix = 'take its own entry or name away, or call this upstream by its variables: without host-aliases';
        throw new Refusal('host-alias', `${clash} means something else in this pod already`, fix);
      }
      at = addressOf(whole, taken);
      taken.add(at);
      addresses.set(whole, at);
      aliases.push({ ip: at, hostnames: spellings });
    }
    return { ...upstream, at, host: whole, name: `${short.slice(0, 57)}-${upstream.listen}` };
  });
  return { wanted: { ...wanted, upstreams: named(upstreams) }, aliases };
}

/** The Service that a name means, in all spellings; its namespace is empty where that of the pod is meant and not known. */
interface Spelled {
  readonly short: string;
  readonly namespace: string;
  readonly whole: string;
  readonly spellings: readonly string[];
}

/**
 * What the host of an upstream means in a pod of namespace `within`, which is empty where it is not known: kubelet knows it.
 * @throws Refusal `host-alias` for what is no Service, or may be none
 */
export function spell({ host, service }: Pick<Upstream, 'host' | 'service'>, within: string): Spelled {
  const [short = '', given, svc, ...domain] = host.split('.');
  const namespace = given ?? within;
  const isService = (svc ?? 'svc') === 'svc' && !/^\d+$/.test(short) && host !== 'localhost';
  if (!isService || (short === 'kubernetes' && (namespace === 'default' || namespace === ''))) {
    const why = `${host} is not the name of a Service that a sidecar can be in front of`;
    throw new Refusal('host-alias', why, `write SERVICE or SERVICE.NAMESPACE, ${OTHERWISE}`);
  }
  // Two words may as well be a name outside, example.com.
  const answering = service.includes('/') ? service.slice(0, service.indexOf('/')) : within;
  if (given !== undefined && svc === undefined && given !== answering) {
    const where = answering === '' ? 'the namespace of the pod, which is not known here' : `namespace ${answering}`;
    const why = `${host} may be no Service: ${service} answers there, which is in ${where}`;
    throw new Refusal('host-alias', why, `write ${host}.svc if it is one, ${OTHERWISE}`);
  }
  const cluster = domain.length === 0 ? 'cluster.local' : domain.join('.');
  if (namespace === '') {
    return { short, namespace, whole: `${short}.$(MTLS_NAMESPACE).svc.${cluster}`, spellings: [short] };
  }
  const qualified = `${short}.${namespace}`;
  const whole = `${qualified}.svc.${cluster}`;
  const bare = namespace === within ? [short] : [];
  return { short, namespace, whole, spellings: [...bare, qualified, `${qualified}.svc`, whole] };
}

const OTHERWISE = 'or call it by its variables: without host-aliases';

/** A pod that finds itself at its sidecar cannot tell itself from the others. @throws Refusal `host-alias` */
export function checkOwnName(aliases: readonly HostAlias[], service: string): void {
  if (!aliases.some(({ hostnames }) => hostnames.includes(service))) return;
  const why = `${service} is the name of this service itself`;
  throw new Refusal('host-alias', why, 'remove it from upstreams');
}

/** The entry that lets the sidecar listen where its upstreams are found; none where it may already. @throws Refusal `host-alias` */
export function portSysctl({ sysctls }: Json, { hostAliases, upstreams }: Wanted): Json[] {
  const lowest = Math.min(...upstreams.map(({ listen }) => listen));
  if (!hostAliases || lowest >= FIRST_FREE_PORT) return [];
  const own = objects(sysctls).find((one) => textOf(one, 'name') === PORT_SYSCTL);
  if (own === undefined) return [{ name: PORT_SYSCTL, value: '0' }];
  if (Number(own['value']) <= lowest) return [];
  const why = `its sysctl ${PORT_SYSCTL} keeps the sidecar from port ${lowest}`;
  throw new Refusal('host-alias', why, `set it to ${lowest} or less, or take it away`);
}

const FIRST_FREE_PORT = 1024;

/** The same for the same name in every pod; the next one where it is taken. Far from 127.0.0.0/16, which others use. */
function addressOf(name: string, taken: ReadonlySet<string>): string {
  const hash = createHash('sha256').update(name).digest();
  let number = hash.readUInt32BE() % (240 << 16);
  for (;;) {
    const [a, b, c] = [16 + (number >> 16), (number >> 8) & 0xff, (number & 0xff) | 1];
    const address = `127.${a}.${b}.${c}`;
    if (!taken.has(address) && c !== 255) return address;
    number = (number + 2) % (240 << 16);
  }
}

function named(upstreams: readonly Upstream[]): Upstream[] {
  return upstreams.map((upstream, i) => {
    const twice = upstreams.some((other, j) => j < i && other.name === upstream.name);
    return twice ? { ...upstream, name: `${upstream.name}-${i}`.slice(-63).replace(/^-+/, '') } : upstream;
  });
}
