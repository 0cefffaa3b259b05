import type { Command } from 'commander';
import { systemClock, systemRandom } from '../base/clock.ts';
import { Readiness } from '../base/lifecycle.ts';
import { createMetrics } from '../base/metrics.ts';
import { loadConfig } from '../config/load.ts';
import { type Context, command } from './command.ts';
import { readConfigFile } from './config-file.ts';
import { createLogging } from './logging.ts';
import { aborted, stopSignal } from './signals.ts';
import { packageVersion } from './version.ts';

export function webhookCommand(context: Context): Command {
  return command('webhook', {
    summary: 'puts sidecars into pods as they are made',
    description:
      'Answers the API server of the cluster that KUBECONFIG or the ServiceAccount of this pod leads to, until SIGTERM or\nCtrl-C. `sidelock install` prints all that belongs to it.',
    examples: [
      ['sidelock webhook', 'in its pod'],
      ['MTLS_SIDECAR_IMAGE=registry.internal/sidelock-sidecar:1 sidelock webhook', 'with an image of your own'],
    ],
  })
    .option('--config <FILE>', 'config file of kind Webhook; MTLS_ variables win over it')
    .action((flags: { readonly config?: string }) => serve(context, flags));
}

async function serve({ output, env }: Context, flags: { readonly config?: string }): Promise<void> {
  const stop = stopSignal();
  const file = flags.config === undefined ? undefined : await readConfigFile(flags.config);
  const { config } = loadConfig('Webhook', { file, env, flags: [] });
  const { sidecar, trustDomain, ...rest } = config;
  const log = createLogging(output, { level: config.log.level });
  const metrics = createMetrics({ processMetrics: true });
  const readiness = new Readiness();
  const [{ connectKubernetes }, { startWebhook }, { startHealth }] = await Promise.all([
    import('../kubernetes/client.ts'),
    import('../kubernetes/webhook.ts'),
    import('../sidecar/admin.ts'),
  ]);
  const version = packageVersion();
  const image = sidecar.image ?? `sidelock-sidecar:${version}`;
  await using started = new AsyncDisposableStack();
  started.use(
    await startWebhook({
      ...rest,
      api: await connectKubernetes(),
      settings: {
        ...{ image, trustDomain, logLevel: sidecar.logLevel, version },
        podCertificates: sidecar.identity === 'podCertificate',
      },
      readiness,
      clock: systemClock,
      random: systemRandom,
      log,
      metrics,
    }),
  );
  started.use(await startHealth({ listen: config.health, readiness, metrics }));
  await aborted(stop);
  log.info({ event: 'stopping', signal: stop.reason }, 'webhook is stopping');
}
