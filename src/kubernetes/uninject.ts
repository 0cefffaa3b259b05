import { STATUS } from './annotations.ts';
import { PORT_SYSCTL } from './host-aliases.ts';
import { CONTAINER, isObject, type Json, TOKEN_VOLUME, textOf, VOLUME } from './names.ts';
import { restoreProbes } from './probes.ts';

/** What injection added to a pod, as its status annotation says. */
export interface Added {
  readonly version: string;
  /** Variables by container. */
  readonly env: Readonly<Record<string, readonly string[]>>;
  /** Probes as they were, by container; not there when none was rewritten. */
  readonly probes?: Readonly<Record<string, object>>;
  /** Addresses of its host aliases; not there when there are none. */
  readonly aliases?: readonly string[];
  /** Lists and maps that were not there before. */
  readonly made: readonly string[];
}

/** A pod without what injection added; the given object itself when nothing was. Pure. */
export function takeOut(pod: Json): Json {
  const { metadata, spec } = pod;
  if (!isObject(metadata) || !isObject(spec)) return pod;
  const added = readStatus(textOf(metadata['annotations'], STATUS));
  if (added === undefined) return pod;
  const made = new Set(added.made);
  const rest = (object: Json, key: string, kept: Json | readonly unknown[], path: string): Json => {
    const { [key]: _, ...others } = object;
    const empty = (Array.isArray(kept) ? kept : Object.keys(kept)).length === 0;
    return empty && (made.has(path) || object[key] === undefined) ? others : { ...object, [key]: kept };
  };
  const { [STATUS]: _, ...annotations } = isObject(metadata['annotations']) ? metadata['annotations'] : {};
  const bareMetadata = rest(metadata, 'annotations', annotations, 'metadata.annotations');

  const withoutVariables = (given: unknown): unknown => {
    if (!isObject(given)) return given;
    const originals = added.probes?.[textOf(given, 'name')];
    const container = isObject(originals) ? restoreProbes(given, originals) : given;
    const names = added.env[textOf(container, 'name')];
    if (names === undefined) return container;
    const env = listOf(container['env']).filter((variable) => !names.includes(textOf(variable, 'name')));
    return rest(container, 'env', env, `env.${textOf(container, 'name')}`);
  };
  const without = (key: string, ...names: readonly string[]) =>
    listOf(spec[key]).filter((one) => !names.includes(textOf(one, 'name')));
  let bare = spec;
  const init = without('initContainers', CONTAINER).map(withoutVariables);
  bare = rest(bare, 'initContainers', init, 'spec.initContainers');
  bare = { ...bare, containers: listOf(spec['containers']).map(withoutVariables) };
  bare = rest(bare, 'volumes', without('volumes', VOLUME, TOKEN_VOLUME), 'spec.volumes');
  if (added.aliases !== undefined) {
    const aliases = listOf(spec['hostAliases']).filter((one) => !added.aliases?.includes(textOf(one, 'ip')));
    bare = rest(bare, 'hostAliases', aliases, 'spec.hostAliases');
  }
  if (isObject(spec['securityContext'])) {
    let security = spec['securityContext'];
    if (made.has(PORT_SYSCTL)) {
      const sysctls = listOf(security['sysctls']).filter((one) => textOf(one, 'name') !== PORT_SYSCTL);
      security = rest(security, 'sysctls', sysctls, 'spec.securityContext.sysctls');
    }
    if (made.has('spec.securityContext.fsGroup')) {
      const { fsGroup: _, ...others } = security;
      security = others;
    }
    if (security !== spec['securityContext']) bare = rest(bare, 'securityContext', security, 'spec.securityContext');
  }
  return rest({ ...pod, spec: bare }, 'metadata', bareMetadata, 'metadata');
}

/** Undefined for what injection did not write. */
function readStatus(text: string): Added | undefined {
  if (text === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value) || !isObject(value['env']) || !Array.isArray(value['made'])) return undefined;
  const env = Object.fromEntries(
    Object.entries(value['env']).map(([name, names]) => [name, listOf(names).map(String)]),
  );
  const probes = Object.entries(isObject(value['probes']) ? value['probes'] : {}).filter(([, one]) => isObject(one));
  return {
    version: textOf(value, 'version'),
    env,
    made: value['made'].map(String),
    ...(Array.isArray(value['aliases']) ? { aliases: value['aliases'].map(String) } : {}),
    ...(probes.length === 0 ? {} : { probes: Object.fromEntries(probes) as Record<string, object> }),
  };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
