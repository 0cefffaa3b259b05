import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { SidelockError } from '../base/errors.ts';
import { LOG_LEVELS } from '../base/log.ts';
import { editManifests } from '../config/manifest.ts';
import { printManifests } from '../config/print.ts';
import {
  type Aliased,
  aliased,
  type Guarded,
  guarded,
  leadPast,
  networkPolicyFor,
  notLed,
} from '../kubernetes/around.ts';
import { inject } from '../kubernetes/inject.ts';
import type { Json } from '../kubernetes/names.ts';
import { takeOut } from '../kubernetes/uninject.ts';
import { editPods, servicesIn } from '../kubernetes/workloads.ts';
import { type Context, command } from './command.ts';
import { readConfigFile } from './config-file.ts';
import { packageVersion } from './version.ts';

interface InjectFlags {
  readonly image: string;
  readonly trustDomain: string;
  readonly logLevel: string;
  readonly manager?: string;
  readonly root?: readonly string[];
  readonly podCertificates?: boolean;
  readonly networkPolicies?: boolean;
}

const FILES = 'manifests: YAML or JSON files, directories of them; - is standard input';

export function injectCommand(context: Context): Command {
  const { output } = context;
  return command('inject', {
    summary: 'add the sidecar to manifests',
    description:
      'Prints Kubernetes manifests with a sidecar in each pod that has annotations of certificate.ai-teddy.com.\nAsks no cluster. What has no pod is printed as it is; what got a sidecar and what did not is told on standard error.',
    examples: [
      ['sidelock inject orders.yaml | kubectl apply -f -', 'one file'],
      ['kubectl get deployment web -o yaml | sidelock inject - | kubectl apply -f -', 'what runs already'],
      ['sidelock inject --image registry.internal/sidelock-sidecar:1 k8s/', 'a directory, with an image of your own'],
    ],
  })
    .argument('<file...>', FILES)
    .option('--image <IMAGE>', 'of the sidecar', `sidelock-sidecar:${packageVersion()}`)
    .option('--trust-domain <NAME>', 'of every identity', 'ai-teddy.local')
    .option('--manager <URL>', 'sidecars get their certificates there, with the token of their pod')
    .option('--root <SHA256>', 'root that this manager shows; give it again while roots change', roots)
    .option('--pod-certificates', 'sidecars get their certificates from kubelet; needs Kubernetes 1.37')
    .option(
      '--network-policies',
      'print a NetworkPolicy for each pod with inbound ports: its sidecar is reached, and not its app',
    )
    .addOption(new Option('--log-level <LEVEL>', 'of the sidecars').choices(LOG_LEVELS).default('info'))
    .action(async (paths: readonly string[], flags: InjectFlags) => {
      const { image, trustDomain, logLevel, podCertificates = false } = flags;
      const common = { image, trustDomain, logLevel, version: packageVersion() };
      const settings = { ...common, podCertificates, manager: managerOf(flags) };
      const pods: Guarded[] = [];
      const callers: Aliased[] = [];
      const { services, ended } = await edit(context, paths, (pod, of, file, namespace) => {
        const injection = inject(pod, settings, namespace);
        if (injection.outcome === 'injected') {
          output.note(`${of}: sidecar of ${injection.service} added (${file})`);
          pods.push(...[guarded(injection.pod, of, namespace)].filter((one) => one !== undefined));
          callers.push(...[aliased(injection.pod, of, namespace)].filter((one) => one !== undefined));
        }
        if (injection.outcome === 'skipped') {
          const why =
            injection.reason === 'disabled' ? 'its label says inject: disabled' : 'no annotation asks for one';
          output.note(`${of}: left as it is, ${why} (${file})`);
        }
        if (injection.outcome === 'refused') {
          context.exitCode = 1;
          output.warn(
            `${of}: no sidecar, ${injection.reason} (${file})\n  why  ${injection.why}\n  fix  ${injection.fix}`,
          );
        }
        return injection.pod;
      });
      for (const line of [...leadPast(services, pods), ...notLed(services, callers)]) output.warn(line);
      const policies = pods.map(networkPolicyFor).filter((policy) => policy !== undefined);
      if (flags.networkPolicies !== true || policies.length === 0) return;
      output.raw(`${ended ? '' : '\n'}${printManifests(policies)}`);
    });
}

export function uninjectCommand(context: Context): Command {
  return command('uninject', {
    summary: 'take the sidecar out of manifests',
    description: 'Prints Kubernetes manifests without what `sidelock inject` added, and with all the rest.',
    examples: [
      ['sidelock uninject orders.yaml', 'one file'],
      ['kubectl get deployment web -o yaml | sidelock uninject - | kubectl apply -f -', 'what runs already'],
    ],
  })
    .argument('<file...>', FILES)
    .action(async (paths: readonly string[]) => {
      await edit(context, paths, (pod, of, file) => {
        const bare = takeOut(pod);
        context.output.note(`${of}: ${bare === pod ? 'has no sidecar of ours' : 'sidecar taken out'} (${file})`);
        return bare;
      });
    });
}

function managerOf({ manager, root = [], podCertificates }: InjectFlags) {
  if (manager === undefined && root.length === 0) return undefined;
  if (podCertificates === true) {
    throw new SidelockError('SL-USAGE-001', '--pod-certificates and --manager exclude each other', {
      why: 'with --pod-certificates no sidecar talks to a manager: kubelet gets its certificate and the roots',
      fix: 'give one of the two',
    });
  }
  if (manager === undefined || root.length === 0) {
    throw new SidelockError('SL-USAGE-001', '--manager and --root need each other', {
      why: 'a sidecar sends its token to nobody but the manager that shows this root',
      fix: 'the manager prints its root when it starts',
    });
  }
  if (URL.parse(manager)?.protocol === 'https:') return { address: manager, roots: root };
  throw new SidelockError('SL-USAGE-001', `--manager ${manager} is not https://HOST:PORT`);
}

function roots(value: string, before: readonly string[] = []): string[] {
  const [, digits] = /^(?:sha256:)?([0-9a-f]{64})$/i.exec(value) ?? [];
  if (digits !== undefined) return [...before, digits.toLowerCase()];
  throw new SidelockError('SL-USAGE-001', `--root ${value} is not sha256: and 64 hex digits`);
}

async function edit(
  { output }: Context,
  paths: readonly string[],
  change: (pod: Json, of: string, file: string, namespace: string) => Json,
): Promise<{ readonly services: readonly Json[]; readonly ended: boolean }> {
  const services: Json[] = [];
  let first = true;
  let ended = true;
  for (const path of (await Promise.all(paths.map(manifestsIn))).flat()) {
    const { name, text } = await readConfigFile(path);
    const edited = editManifests(text, name, (object) => {
      services.push(...servicesIn(object));
      return editPods(object, (pod, of, namespace) => change(pod, of, name, namespace));
    });
    if (edited === '') continue;
    if (!ended) output.raw('\n');
    if (!first && !edited.startsWith('---')) output.raw('---\n');
    output.raw(edited);
    first = false;
    ended = edited.endsWith('\n');
  }
  return { services, ended };
}

/** The file itself, or those below a directory in the order of their names. */
async function manifestsIn(path: string): Promise<string[]> {
  const found = path === '-' ? undefined : await stat(path).catch(() => undefined);
  if (found?.isDirectory() !== true) return [path];
  const files = await readdir(path, { recursive: true });
  return files
    .filter((file) => /\.(?:ya?ml|json)$/i.test(file))
    .sort()
    .map((file) => join(path, file));
}
