import type { Command } from 'commander';
import { createMetrics } from '../base/metrics.ts';
import { type Context, command } from './command.ts';
import { createLogging } from './logging.ts';
import { followConfig } from './reload.ts';
import { addSidecarFlags, type SidecarFlags } from './sidecar-flags.ts';
import { aborted, onHangup, stopSignal } from './signals.ts';
import { describeSidecar, loadSidecarConfig, sidecarDocument, startConfigured } from './start-sidecar.ts';

export function sidecarCommand(context: Context): Command {
  const made = command('sidecar', {
    summary: 'the proxy beside one service',
    description:
      'Serves until SIGTERM or Ctrl-C, then lets open connections finish. A changed config file, or SIGHUP, brings new rules for callers into force.',
    examples: [
      ['sidelock sidecar --config config/sidecar.yaml', 'from a file'],
      [
        'sidelock sidecar --service orders --inbound 8443:8080 --allow web --token-file /run/token',
        'in front of a service',
      ],
      [
        'sidelock sidecar --service web --upstream 9101=orders@10.0.0.5:8443 --token-file /run/token',
        'for a service that calls another',
      ],
    ],
  });
  return addSidecarFlags(made).action((flags: SidecarFlags) => serve(context, flags));
}

async function serve(context: Context, flags: SidecarFlags): Promise<void> {
  const { output } = context;
  const stop = stopSignal();
  const { config } = await loadSidecarConfig(context, flags);
  const log = createLogging(output, { level: config.log.level });
  const metrics = createMetrics({ processMetrics: true });
  await using sidecar = await startConfigured(config, log, metrics, flags.token);
  const load = async () => (await loadSidecarConfig(context, flags)).config;
  await using following = await followConfig({ file: flags.config, config, load, sidecar, metrics, log });
  if (flags.config !== undefined && flags.config !== '-') onHangup(() => void following.reload());
  await Promise.race([sidecar.ready, aborted(stop)]);
  if (!stop.aborted) {
    // What only starting needed goes now, where Node lets us (--expose-gc): an idle sidecar would hold it for hours.
    globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    output.result(
      sidecarDocument(sidecar),
      () => `sidecar ready\n${describeSidecar(sidecar, config, output).join('\n')}\n`,
    );
    await aborted(stop);
  }
  log.info({ event: 'stopping', signal: stop.reason }, 'sidecar is stopping');
  await sidecar.shutdown();
}
