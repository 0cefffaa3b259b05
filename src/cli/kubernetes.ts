import type { Command } from 'commander';
import { isSidelockError } from '../base/errors.ts';
import type { Change } from '../kubernetes/deployments.ts';
import { type Context, command } from './command.ts';
import { certificateOf } from './kubernetes-certificate.ts';
import { loadManagerConfig, type ManagerFlags } from './manager-options.ts';
import { addStorageFlags } from './with-manager.ts';

interface ClusterFlags extends ManagerFlags {
  readonly service: string;
  readonly namespace: string;
  readonly dryRun?: boolean;
  readonly type?: string;
  readonly sans?: readonly string[];
}

/** What became of one object. */
interface Done {
  readonly namespace: string;
  readonly name: string;
  readonly kind: string;
  readonly outcome: Change['outcome'] | 'absent';
  readonly diff?: Change['diff'];
}

export function kubernetesCommand(context: Context): Command {
  return command('kubernetes', {
    summary: 'certificates in a cluster, without sidecars',
    description: 'Works on the cluster that KUBECONFIG, ~/.kube/config or the ServiceAccount of this pod leads to.',
    examples: [['sidelock kubernetes secret --service orders --namespace shop', 'a certificate as a Secret']],
  })
    .addCommand(bootstrapCommand(context))
    .addCommand(
      one(context, 'secret', {
        summary: 'keep a certificate as a Secret',
        description:
          'Writes SERVICE-mtls-certs (tls.crt, tls.key, ca.crt), which pods mount, with or without a sidecar. A certificate is made\nwhere there is none with its key. Secrets of somebody else are left alone.',
        steps: ['secret'],
      }),
    )
    .addCommand(
      one(context, 'deployment', {
        summary: 'mount the Secret into a Deployment',
        description:
          'Mounts SERVICE-mtls-certs into each container of the Deployment called SERVICE, at /etc/ssl/ai-teddy/SERVICE/, and names\nthe files in MTLS_CERT_FILE, MTLS_KEY_FILE and MTLS_CA_FILE. Nothing else of it is touched.',
        steps: ['deployment'],
      }),
    )
    .addCommand(
      one(context, 'istio', {
        summary: 'let Istio demand and use mTLS for a service',
        description:
          'Writes PeerAuthentication and DestinationRule SERVICE-mtls where the cluster has Istio, and nothing where it has not.',
        steps: ['istio'],
      }),
    );
}

type Step = 'secret' | 'deployment' | 'istio';

function bootstrapCommand(context: Context): Command {
  const made = command('bootstrap', {
    summary: 'Secret, mounts and Istio policies of every configured service',
    description:
      'For each of `services` in the config of the manager. A service that has no Deployment yet gets its Secret alone. Safe to run again.',
    examples: [
      ['sidelock kubernetes bootstrap --config config/manager.yaml', 'all of them'],
      ['sidelock kubernetes bootstrap --config config/manager.yaml --dry-run', 'show what would change'],
    ],
  }).option('--dry-run', 'let the API server check it, show what would change, and change nothing');
  return addStorageFlags(made).action(async (flags: Omit<ClusterFlags, 'service' | 'namespace'>) => {
    const { services } = await loadManagerConfig(context, flags);
    const done: Done[] = [];
    for (const { name: service, namespace, type, sans } of services) {
      const wanted = { ...flags, service, namespace, type, sans };
      done.push(...(await run(context, wanted, ['secret', 'deployment', 'istio'], true)));
    }
    show(context, done, flags);
  });
}

function one(
  context: Context,
  name: Step,
  { steps, ...text }: { readonly summary: string; readonly description: string; readonly steps: readonly Step[] },
): Command {
  const example = `sidelock kubernetes ${name} --service orders --namespace shop`;
  const made = command(name, {
    ...text,
    examples: [
      [example, 'make it, or bring it up to date'],
      [`${example} --dry-run`, 'the API server checks and keeps nothing'],
    ],
  })
    .optionsGroup('What')
    .requiredOption('--service <NAME>', 'name of the service')
    .option('--namespace <NAME>', 'its namespace', 'default')
    .option('--dry-run', 'let the API server check it, show what would change, and change nothing');
  const withFlags = name === 'secret' ? addStorageFlags(made) : made;
  return withFlags.action(async (flags: ClusterFlags) => show(context, await run(context, flags, steps, false), flags));
}

async function run(
  context: Context,
  flags: ClusterFlags,
  steps: readonly Step[],
  mayBeAbsent: boolean,
): Promise<Done[]> {
  const { service, namespace, dryRun = false } = flags;
  const [
    { connectKubernetes },
    { secretClient },
    { deployCertificateAsSecret },
    deployments,
    { createIstioMtlsPolicy },
  ] = await Promise.all([
    import('../kubernetes/client.ts'),
    import('../kubernetes/secret-client.ts'),
    import('../kubernetes/secrets.ts'),
    import('../kubernetes/deployments.ts'),
    import('../kubernetes/istio.ts'),
  ]);
  const certificate = steps.includes('secret') ? await certificateOf(context, flags) : undefined;
  const api = await connectKubernetes();
  const done: Done[] = [];
  if (certificate !== undefined) {
    const secret = { service, namespace, ...certificate };
    const deployed = await deployCertificateAsSecret(secretClient(api), secret, { dryRun });
    done.push({ namespace, kind: 'Secret', ...deployed });
  }
  if (steps.includes('deployment')) {
    const object = { namespace, kind: 'Deployment', name: service };
    try {
      done.push({
        ...object,
        ...(await deployments.updateDeploymentWithMtls(api, { service, namespace }, { dryRun })),
      });
    } catch (error) {
      const absent = isSidelockError(error, 'SL-KUBE-002') && error.data['kubernetes'] === 404;
      if (!absent || !mayBeAbsent) throw error;
      done.push({ ...object, outcome: 'absent' });
    }
  }
  if (steps.includes('istio')) {
    const { istio, changes } = await createIstioMtlsPolicy(api, { service, namespace }, { dryRun });
    done.push(...changes.map((change) => ({ namespace, ...change })));
    if (!istio) done.push({ namespace, kind: 'Istio', name: `${service}-mtls`, outcome: 'absent' });
  }
  return done;
}

function show({ output }: Context, done: readonly Done[], { dryRun = false }: { readonly dryRun?: boolean }): void {
  const [only, ...others] = done;
  const document = only !== undefined && others.length === 0 ? { ...only, dryRun } : { objects: done, dryRun };
  output.result(document, () =>
    done
      .map(({ kind, namespace, name, outcome, diff = [] }) => {
        const sign = output.style('green', output.signs.ok);
        const lines = dryRun ? diff.map(({ op, path }) => `    ${op} ${path}\n`) : [];
        const note = dryRun ? ' (dry run: nothing was changed)' : '';
        return `${sign} ${kind} ${namespace}/${name}: ${outcome}${note}\n${lines.join('')}`;
      })
      .join(''),
  );
}
