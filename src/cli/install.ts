import { type Command, Option } from 'commander';
import { SidelockError } from '../base/errors.ts';
import { printManifests } from '../config/print.ts';
import { installDefaults, installManifests } from '../kubernetes/manifests.ts';
import { INJECT_LABEL } from '../kubernetes/names.ts';
import { type Context, command, list } from './command.ts';
import { packageVersion } from './version.ts';

interface InstallFlags {
  readonly namespace: string;
  readonly managerImage: string;
  readonly sidecarImage: string;
  readonly trustDomain: string;
  readonly failurePolicy: 'Ignore' | 'Fail';
  readonly storageClass?: string;
  readonly state: 'volume' | 'secrets';
  readonly managerReplicas: string;
  readonly podCertificates?: boolean;
  readonly requireSidecar?: boolean;
  readonly integrate?: readonly string[];
}

export function installCommand(context: Context): Command {
  const defaults = installDefaults(packageVersion());
  return command('install', {
    summary: 'print what a cluster needs: manager, webhook, rights',
    description: `Prints Kubernetes manifests and asks no cluster: manager, webhook, their accounts and rights. Afterwards pods of each\nnamespace with the label ${INJECT_LABEL}=enabled get sidecars as they are made.`,
    examples: [
      ['sidelock install | kubectl apply -f -', 'install, and again to upgrade'],
      [`kubectl label namespace shop ${INJECT_LABEL}=enabled`, 'then let a namespace in'],
    ],
  })
    .option('--namespace <NAME>', 'where manager and webhook run', defaults.namespace)
    .option('--manager-image <IMAGE>', 'of the manager', defaults.managerImage)
    .option('--sidecar-image <IMAGE>', 'of the webhook and of the sidecars', defaults.sidecarImage)
    .option('--trust-domain <NAME>', 'of every identity', defaults.trustDomain)
    .addOption(
      new Option('--failure-policy <POLICY>', 'while no webhook answers pods are made without sidecar, or not at all')
        .choices(['Ignore', 'Fail'])
        .default(defaults.failurePolicy),
    )
    .option('--require-sidecar', 'no pod without sidecar in labelled namespaces, unless its label says disabled')
    .option('--pod-certificates', 'sidecars get their certificates from kubelet; needs Kubernetes 1.37')
    .option(
      '--integrate <LIST>',
      "namespaces where the manager may do what `sidelock kubernetes` does: Secrets, mounts, Istio's policies",
      list,
    )
    .option('--storage-class <NAME>', "of the volume with the CA; the cluster's own unless given")
    .addOption(
      new Option('--state <WHERE>', 'of the manager: in a volume, or in Secrets, which several managers can share')
        .choices(['volume', 'secrets'])
        .default('volume'),
    )
    .option('--manager-replicas <N>', 'managers, of which one leads; more than one needs --state secrets', '1')
    .action((flags: InstallFlags) => {
      const odd = flags.integrate?.find((name) => !NAMESPACE.test(name));
      if (odd !== undefined)
        throw new SidelockError('SL-USAGE-001', `--integrate ${odd} is not the name of a namespace`);
      const managerReplicas = replicasFlag(flags);
      context.output.raw(printManifests(installManifests({ ...flags, managerReplicas })));
    });
}

const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

function replicasFlag({ managerReplicas, state }: InstallFlags): number {
  const count = Number(managerReplicas);
  if (!Number.isInteger(count) || count < 1 || count > 9) {
    throw new SidelockError('SL-USAGE-001', `--manager-replicas ${managerReplicas} is not a number from 1 to 9`);
  }
  if (count === 1 || state === 'secrets') return count;
  throw new SidelockError('SL-USAGE-001', '--manager-replicas needs --state secrets', {
    why: 'a volume belongs to one manager',
  });
}
