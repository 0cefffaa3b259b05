import { type Command, CommanderError } from 'commander';
import { SidelockError } from '../base/errors.ts';
import { auditCommand } from './audit.ts';
import { backupCommand, restoreCommand } from './backup.ts';
import { bootstrapCommand } from './bootstrap.ts';
import { caCommand } from './ca.ts';
import { checkCommand } from './check.ts';
import { type Context, command } from './command.ts';
import { completionCommand } from './completion.ts';
import { configCommand } from './config.ts';
import { devCommand } from './dev.ts';
import { deviceCommand } from './device.ts';
import { diagnoseCommand } from './diagnose.ts';
import { explainCommand } from './explain.ts';
import { exitCodeOf } from './failure.ts';
import { generateCommand } from './generate.ts';
import { healthCommand } from './health.ts';
import { injectCommand, uninjectCommand } from './inject.ts';
import { installCommand } from './install.ts';
import { kubernetesCommand } from './kubernetes.ts';
import { listCommand } from './list.ts';
import { managerCommand } from './manager.ts';
import { migrateCommand } from './migrate.ts';
import { monitorCommand } from './monitor.ts';
import { createOutput, needsAscii, type Output } from './output.ts';
import { policyCommand } from './policy.ts';
import { revokeCommand } from './revoke.ts';
import { rotateCommand } from './rotate.ts';
import { runCommand } from './run.ts';
import { showCommand } from './show.ts';
import { sidecarCommand } from './sidecar.ts';
import { checkSurroundings, nodeWarning, surroundings } from './surroundings.ts';
import { tokenCommand } from './token.ts';
import { trustCommand } from './trust.ts';
import { uninstallCommand } from './uninstall.ts';
import { validateCommand } from './validate.ts';
import { packageVersion } from './version.ts';
import { webhookCommand } from './webhook.ts';

/** Commands that touch no key and no peer: they start in any surroundings. */
const HARMLESS = new Set([
  'explain',
  'completion',
  'config validate',
  'config print',
  'config schema',
  'inject',
  'uninject',
  'install',
  'policy suggest',
  'migrate',
]);
/** Commands that face the network for long, and say once when their Node lacks fixes. */
const LASTING = new Set(['manager', 'sidecar', 'run', 'webhook']);

/** Runs one command line; resolves with the exit code when everything it started has ended. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const output = outputFor(args);
  const context: Context = { output, env: process.env, exitCode: 0 };
  // A reader that leaves early (`| head`) is no failure.
  process.stdout.on('error', () => process.exit(context.exitCode));
  process.stderr.on('error', () => {});
  try {
    await buildProgram(context).parseAsync([...args], { from: 'user' });
    return context.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (error instanceof CommanderError && error.code === 'commander.help') return 2;
    const failure = error instanceof CommanderError ? usageError(error) : error;
    output.failure(failure);
    return exitCodeOf(failure);
  }
}

/** Every command there is. @internal */
export function buildProgram(context: Context): Command {
  const program = command('sidelock', {
    summary: '',
    description: 'Mutual TLS for services that know nothing of TLS: a certificate manager and a small sidecar proxy.',
    examples: [
      ['sidelock dev --config config/demo.yaml', 'see it: two services and a call through mTLS, nothing left behind'],
      ['sidelock manager --storage ./pki', 'a manager of your own'],
      [
        'sidelock run --service orders --inbound 8443:8080 --allow web --token "$(sidelock token create orders)" -- node orders.js',
        'a service behind mTLS',
      ],
    ],
  })
    .version(packageVersion(), '-V, --version', 'version of this program')
    .commandsGroup('Long-running')
    .addCommand(devCommand(context))
    .addCommand(managerCommand(context))
    .addCommand(sidecarCommand(context))
    .addCommand(runCommand(context))
    .commandsGroup('Certificates')
    .addCommand(bootstrapCommand(context))
    .addCommand(generateCommand(context))
    .addCommand(monitorCommand(context))
    .addCommand(listCommand(context))
    .addCommand(showCommand(context))
    .addCommand(rotateCommand(context))
    .addCommand(validateCommand(context))
    .addCommand(healthCommand(context))
    .addCommand(checkCommand(context))
    .addCommand(tokenCommand(context))
    .addCommand(deviceCommand(context))
    .addCommand(auditCommand(context))
    .addCommand(backupCommand(context))
    .addCommand(restoreCommand(context))
    .addCommand(revokeCommand(context))
    .addCommand(trustCommand(context))
    .addCommand(caCommand(context))
    .commandsGroup('Kubernetes')
    .addCommand(installCommand(context))
    .addCommand(uninstallCommand(context))
    .addCommand(webhookCommand(context))
    .addCommand(injectCommand(context))
    .addCommand(uninjectCommand(context))
    .addCommand(kubernetesCommand(context))
    .commandsGroup('Look things up')
    .addCommand(policyCommand(context))
    .addCommand(diagnoseCommand(context))
    .addCommand(migrateCommand(context))
    .addCommand(configCommand(context))
    .addCommand(explainCommand(context))
    .addCommand(completionCommand(context));
  program.hook('preAction', (_, action) => {
    const path = action.parent === program ? action.name() : `${action.parent?.name()} ${action.name()}`;
    if (HARMLESS.has(path)) return;
    const lasting = LASTING.has(action.name());
    checkSurroundings(surroundings(lasting));
    const warning = lasting ? nodeWarning(process.versions.node) : undefined;
    if (warning !== undefined) context.output.warn(warning);
  });
  return program;
}

/** Looked for by hand, so that an error in the command line itself is printed the way it asks for. */
function outputFor(args: readonly string[]): Output {
  const own = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  const value = (...names: string[]) => {
    const at = own.findLastIndex((arg) => names.some((name) => arg === name || arg.startsWith(`${name}=`)));
    const found = at === -1 ? undefined : own[at];
    return found?.includes('=') ? found.slice(found.indexOf('=') + 1) : own[at + 1];
  };
  const color = value('--color');
  return createOutput({
    json: value('--format', '-o') === 'json' || own.includes('-ojson'),
    color: color === 'always' || color === 'never' ? color : 'auto',
    ascii: own.includes('--ascii') || needsAscii(process.env),
    verbose: own.includes('--verbose') || own.includes('-v'),
    stdout: process.stdout,
    stderr: process.stderr,
  });
}

/** Its text is for people: a sentence, and maybe a suggestion in brackets on the next line. */
function usageError(error: CommanderError): SidelockError {
  const [sentence = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  const fix = suggestion?.replace(/^\(Did you mean (.*)\)$/, 'did you mean $1');
  return new SidelockError('SL-USAGE-001', sentence, { fix, cause: error });
}
