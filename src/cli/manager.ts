import type { Command } from 'commander';
import { formatAddress } from '../base/listen.ts';
import { createMetrics } from '../base/metrics.ts';
import { type Context, command } from './command.ts';
import { createLogging } from './logging.ts';
import { loadManagerConfig, type ManagerFlags } from './manager-options.ts';
import { becomeLeader } from './manager-replica.ts';
import { aborted, stopSignal } from './signals.ts';
import { startManager } from './start-manager.ts';

export function managerCommand(context: Context): Command {
  return command('manager', {
    summary: 'the certificate authority that sidecars enrol with',
    description: 'Serves until SIGTERM or Ctrl-C. Makes its certificate authority at the first start.',
    examples: [
      ['sidelock manager --storage ./pki', 'everything in ./pki, API on port 9443'],
      ['sidelock manager --config config/manager.yaml', 'from a file'],
      [
        'MTLS_STORAGE_PATH=/etc/ssl/ai-teddy MTLS_CA_NAME=AI-Teddy-CA sidelock manager',
        'from the environment, as in a container',
      ],
    ],
  })
    .optionsGroup('Serving')
    .option('--storage <DIR>', 'certificates and CA state; MTLS_STORAGE_PATH or ./pki unless given')
    .option('--config <FILE>', 'config file of kind Manager; flags and MTLS_ variables win over it')
    .option('--listen <HOST:PORT>', 'API; 0.0.0.0:9443 unless given')
    .option('--address <URL>', 'https address that sidecars reach, put into join tokens')
    .option('--health <HOST:PORT>', 'plain /healthz /readyz /metrics and the dashboard; 127.0.0.1:9444 unless given')
    .option('--log-level <LEVEL>', 'trace, debug, info, warn, error or silent')
    .action((flags: ManagerFlags) => serve(context, flags));
}

async function serve(context: Context, flags: ManagerFlags): Promise<void> {
  const { output } = context;
  const stop = stopSignal();
  const config = await loadManagerConfig(context, flags);
  const { path: storage } = config.storage;
  const log = createLogging(output, { level: config.log.level });
  const metrics = createMetrics({ processMetrics: true });
  const becoming = becomeLeader(config, { log, metrics, signal: stop });
  await using replica = await becoming.catch((error: unknown) => {
    if (!stop.aborted) throw error;
    return undefined;
  });
  if (stop.aborted) return log.info({ event: 'stopping', signal: stop.reason }, 'manager is stopping');
  await using running = await startManager(config, {
    ...{ output, log, metrics },
    settled: replica?.settled,
    beforeServing: replica?.beforeServing,
  });
  const { manager, api, hasPage } = running;
  replica?.serve(api.address.port);
  const root = `sha256:${manager.ca.rootSha256}`;
  output.result({ ready: true, url: api.url, health: api.health, root, storage, address: manager.address() }, () => {
    const short = `${root.slice(0, 11)}${output.signs.dash}${root.slice(-4)}`;
    const flag = storage === (context.env['MTLS_STORAGE_PATH'] ?? './pki') ? '' : ` --storage ${storage}`;
    const page = hasPage
      ? `dashboard http://${formatAddress({ host: api.health.address, port: api.health.port })}/\n`
      : '';
    return `manager ready on ${api.url}   root ${short}   storage ${storage}\n${page}next: sidelock token create orders${flag}\n`;
  });
  if (config.address === undefined && ['0.0.0.0', '::'].includes(config.listen.host)) {
    output.note(
      `join tokens carry ${manager.address()}; for sidecars on other machines give --address https://HOST:${api.address.port}`,
    );
  }
  await aborted(replica === undefined ? stop : AbortSignal.any([stop, replica.lost]));
  if (!stop.aborted) throw replica?.lost.reason;
  log.info({ event: 'stopping', signal: stop.reason }, 'manager is stopping');
}
