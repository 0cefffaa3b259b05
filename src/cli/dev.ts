import type { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { type Context, command } from './command.ts';
import { readConfigFile } from './config-file.ts';
import { demoCall } from './demo-call.ts';
import { startMesh } from './demo-mesh.ts';
import { callDocument, callText, nextText, serviceText } from './demo-text.ts';
import { aborted, stopOnHangup, stopSignal } from './signals.ts';

interface DevFlags {
  readonly config: string;
  readonly once?: boolean;
}

export function devCommand(context: Context): Command {
  return command('dev', {
    summary: 'see it: a manager, small apps and their sidecars, nothing left behind',
    description:
      'Starts a manager in a temporary directory and, for each service of the file, a small app with its sidecar, enrolled by a real token. Makes a call through both sidecars and shows who met whom. Ctrl-C removes everything.',
    examples: [
      ['sidelock dev --config config/demo.yaml', 'two services, one calls the other'],
      ['sidelock dev --config config/demo.yaml --once', 'the same, and end after the call'],
      ['MTLS_SERVICES_0_APP=127.0.0.1:3000 sidelock dev --config config/demo.yaml', 'with another port'],
    ],
  })
    .optionsGroup('What to run')
    .requiredOption('--config <FILE>', 'config file of kind Demo')
    .option('--once', 'end after the call')
    .action(async (flags: DevFlags) => {
      const stop = stopSignal();
      try {
        await demo(context, flags, stop);
      } catch (error) {
        if (!stop.aborted) throw error;
      }
    });
}

async function demo(context: Context, flags: DevFlags, stop: AbortSignal): Promise<void> {
  const { output, env } = context;
  stopOnHangup();
  const { config } = loadConfig('Demo', { file: await readConfigFile(flags.config), env });
  await using mesh = await startMesh(config, output, stop);
  for (const service of mesh.services) output.print(serviceText(service, output));

  const edges = mesh.services.flatMap((caller) =>
    caller.upstreams.map(({ service, url }) => ({ caller, called: mesh.service(service), url: `${url}/hello` })),
  );
  for (const { caller, called, url } of edges) {
    const call = await demoCall(url, caller.sidecar, called.sidecar);
    output.result(
      callDocument(caller.name, called.name, call),
      () => `\n${callText(caller.name, called.name, call, output)}`,
    );
  }
  if (flags.once === true) return;
  output.print(`\n${nextText(mesh, edges[0], env)}`);
  await aborted(stop);
  output.print('');
}
