import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { CA_FILE, CERT_FILE, KEY_FILE } from '../store/layout.ts';
import { type Context, command } from './command.ts';
import type { ManagerFlags } from './manager-options.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface SecretFlags extends ManagerFlags {
  readonly service: string;
  readonly namespace: string;
  readonly dryRun?: boolean;
}

export function kubernetesCommand(context: Context): Command {
  return command('kubernetes', {
    summary: 'certificates in a cluster',
    description: 'Works on the cluster that KUBECONFIG, ~/.kube/config or the ServiceAccount of this pod leads to.',
    examples: [['sidelock kubernetes secret --service orders --namespace shop', 'a certificate as a Secret']],
  }).addCommand(secretCommand(context));
}

function secretCommand(context: Context): Command {
  const { output } = context;
  const made = command('secret', {
    summary: 'keep a certificate as a Secret',
    description:
      'Writes SERVICE-mtls-certs (tls.crt, tls.key, ca.crt), which pods mount, with or without a sidecar. A certificate is made\nwhere there is none with its key. Secrets of somebody else are left alone.',
    examples: [
      ['sidelock kubernetes secret --service orders --namespace shop', 'make it, or bring it up to date'],
      [
        'sidelock kubernetes secret --service orders --namespace shop --dry-run',
        'the API server checks and keeps nothing',
      ],
    ],
  })
    .optionsGroup('What')
    .requiredOption('--service <NAME>', 'name of the service')
    .option('--namespace <NAME>', 'its namespace', 'default')
    .option('--dry-run', 'let the API server check it, and change nothing in the cluster');
  return addStorageFlags(made).action(async (flags: SecretFlags) => {
    const { service, namespace, dryRun = false } = flags;
    const directory = await directoryOf(context, flags);
    const [cert, key, ca] = await Promise.all(
      [CERT_FILE, KEY_FILE, CA_FILE].map((file) => readFile(join(directory, file), 'utf8')),
    );
    if (cert === undefined || key === undefined || ca === undefined) throw unreadable(directory);
    const { connectKubernetes } = await import('../kubernetes/client.ts');
    const { secretClient } = await import('../kubernetes/secret-client.ts');
    const { deployCertificateAsSecret } = await import('../kubernetes/secrets.ts');
    const certificate = { service, namespace, cert, key, ca };
    const { name, outcome } = await deployCertificateAsSecret(secretClient(await connectKubernetes()), certificate, {
      dryRun,
    });
    output.result({ namespace, name, outcome, dryRun }, () => {
      const sign = output.style('green', output.signs.ok);
      return `${sign} Secret ${namespace}/${name}: ${outcome}${dryRun ? ' (dry run: nothing was changed)' : ''}\n`;
    });
  });
}

/** Where the files of its certificate are. */
function directoryOf(context: Context, flags: SecretFlags): Promise<string> {
  const { service, namespace } = flags;
  return withManager(context, flags, {
    create: true,
    work: async (client) => {
      const { certificates } = await client.listCertificates();
      const known = certificates.find(
        (one) => one.service === service && one.namespace === namespace && one.directory !== undefined,
      );
      if (known !== undefined && known.notAfter <= systemClock.now()) {
        throw new SidelockError('SL-CERT-001', `the certificate of ${service} expired`, {
          fix: `sidelock generate --service ${service} --namespace ${namespace} --type ${known.type}`,
        });
      }
      const { directory } = known ?? (await client.generate({ service, namespace, type: 'api_service' })).certificate;
      if (directory === undefined) throw unreadable(service);
      return directory;
    },
  });
}

function unreadable(what: string): SidelockError {
  return new SidelockError('SL-FS-001', `${what} holds no certificate with its key`);
}
