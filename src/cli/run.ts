import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Command } from 'commander';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { createMetrics } from '../base/metrics.ts';
import { type Context, command } from './command.ts';
import { createLogging } from './logging.ts';
import { followConfig } from './reload.ts';
import { addSidecarFlags, type SidecarFlags } from './sidecar-flags.ts';
import { takeSignals } from './signals.ts';
import { describeSidecar, loadSidecarConfig, startConfigured } from './start-sidecar.ts';

export function runCommand(context: Context): Command {
  const made = command('run', {
    summary: 'a sidecar around a command, for as long as it runs',
    description:
      'Starts the sidecar, waits until it is ready, starts the command, passes signals on, drains when it ends, and returns its exit code.',
    examples: [
      [
        'sidelock run --service orders --inbound 8443:8080 --allow web --token "$(sidelock token create orders)" -- node orders.js',
        'a service that others call',
      ],
      [
        'sidelock run --service web --upstream 9101=orders@10.0.0.5:8443 --token "$(sidelock token create web)" -- node web.js',
        'a service that calls http://127.0.0.1:9101',
      ],
      [
        'sidelock run --service job --upstream 5432=db@10.0.0.7:8443 --token-file /run/token -- psql -h 127.0.0.1',
        'a job: ends when psql does',
      ],
    ],
  });
  return addSidecarFlags(made)
    .usage('[options] -- COMMAND [ARGUMENT...]')
    .argument('<command...>', 'the program and its arguments, after --')
    .action((words: readonly string[], flags: SidecarFlags) => wrap(context, words, flags));
}

async function wrap(context: Context, words: readonly string[], flags: SidecarFlags): Promise<void> {
  const { output } = context;
  const [program = '', ...args] = words;
  let child: ChildProcess | undefined;
  const early = Promise.withResolvers<NodeJS.Signals>();
  takeSignals((signal) => {
    // Ctrl-C reaches the whole foreground group of a terminal: passed on as well, the command would get it twice.
    if (signal === 'SIGINT' && process.stdin.isTTY === true && child !== undefined) return;
    if (child !== undefined) child.kill(signal);
    else if (signal !== 'SIGUSR1' && signal !== 'SIGUSR2') early.resolve(signal);
  });

  const { config, origin } = await loadSidecarConfig(context, flags);
  // The terminal belongs to the command: unless more was asked for, only what is wrong is told.
  const level = origin(['log', 'level']).from === 'default' ? 'warn' : config.log.level;
  const log = createLogging(output, { level, prefix: 'sidelock: ', people: true });
  const metrics = createMetrics({ processMetrics: true });
  await using sidecar = await startConfigured(config, log, metrics, flags.token);
  const load = async () => (await loadSidecarConfig(context, flags)).config;
  await using _following = await followConfig({ file: flags.config, config, load, sidecar, metrics, log });
  const first = await Promise.race([sidecar.ready, early.promise]);
  if (first !== undefined) {
    context.exitCode = 128 + constants.signals[first];
    return;
  }
  for (const line of describeSidecar(sidecar, config, output)) output.note(`sidelock: ${line}`);
  child = spawn(program, args, { stdio: 'inherit' });
  context.exitCode = await ended(child, program);
  await sidecar.shutdown();
}

/** As a shell tells it: the code of the command, 128 and its signal, 127 not found, 126 not executable. */
function ended(child: ChildProcess, program: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
    child.once('error', (cause) => reject(cannotStart(program, cause)));
  });
}

function cannotStart(program: string, cause: Error): SidelockError {
  const code = nodeCode(cause);
  const why =
    code === 'ENOENT' ? 'there is no such program in PATH' : code === 'EACCES' ? 'it is not executable' : code;
  return new SidelockError('SL-RUN-001', `cannot start ${program}`, { why, cause, data: { system: code } });
}
