import type { Command } from 'commander';
import { HOUR, SECOND, systemClock } from '../base/clock.ts';
import { installDefaults } from '../kubernetes/manifests.ts';
import type { Uninstallation } from '../kubernetes/uninstall.ts';
import { type Context, command } from './command.ts';
import { confirmed, refuseSilence } from './confirm.ts';
import { durationFlag } from './duration.ts';
import { packageVersion } from './version.ts';

interface UninstallFlags {
  readonly namespace: string;
  readonly wait?: boolean;
  readonly timeout: string;
  readonly yes?: boolean;
}

export function uninstallCommand(context: Context): Command {
  return command('uninstall', {
    summary: 'what still depends on sidelock, and how it goes',
    description:
      'Prints who depends on sidelock in the cluster of KUBECONFIG, with the command that ends it, and what would go in which\norder; and changes nothing. With --wait pods get no sidecars from now on, all who depend are waited for, and then everything\nof sidelock goes: the CA too. Nothing of anybody else is changed.',
    examples: [
      ['sidelock uninstall', 'look'],
      ['sidelock uninstall --wait', 'take it away; ends when nothing of it is left'],
    ],
  })
    .option('--namespace <NAME>', 'where manager and webhook run', installDefaults(packageVersion()).namespace)
    .option('--wait', 'take it away, and end when nothing of it is left')
    .option('--timeout <DURATION>', 'how long --wait waits', '10m')
    .option('--yes', 'do not ask')
    .action((flags: UninstallFlags) => run(context, flags));
}

async function run(context: Context, { namespace, wait = false, timeout, yes = false }: UninstallFlags): Promise<void> {
  const { output } = context;
  const timeoutMs = durationFlag('--timeout', timeout, SECOND);
  if (wait && !yes) refuseSilence('nothing was taken away');
  const [{ connectKubernetes }, { planUninstall, uninstall }] = await Promise.all([
    import('../kubernetes/client.ts'),
    import('../kubernetes/uninstall.ts'),
  ]);
  const api = await connectKubernetes();
  const plan = await planUninstall(api, namespace);
  if (!wait) return output.result({ gone: false, ...plan }, () => describe(plan, namespace));
  output.note(describe(plan, namespace));
  if (!yes && !(await confirmed('Take all of it away, the CA with its key too?'))) {
    context.exitCode = 1;
    return output.note('nothing was taken away');
  }
  // The clock lets a process end that only waits.
  const alive = setInterval(() => {}, HOUR);
  const { signal } = new AbortController();
  const onWait = (what: string) => output.note(`waiting: ${what}`);
  const going = uninstall({ api, namespace, clock: systemClock, signal, timeoutMs, onWait });
  const removed = await going.finally(() => clearInterval(alive));
  output.result(
    { gone: true, removed },
    () => `${output.signs.ok} nothing of sidelock is left: ${removed} objects went\n`,
  );
}

function describe({ dependants, own }: Uninstallation, namespace: string): string {
  if (dependants.length + own.length === 0) return `nothing of sidelock is here, in ${namespace} or elsewhere\n`;
  const order = own.filter(({ leaves }) => !leaves);
  const lines = [
    dependants.length === 0
      ? 'Nobody depends on sidelock.'
      : `${dependants.length} depend on sidelock. First, in this order:`,
    ...dependants.map(({ kind, namespace, name, why, fix }) => {
      const what = kind === 'Namespace' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
      return `  ${what}: ${why}\n    ${fix}`;
    }),
    `Then \`sidelock uninstall --wait\` takes away, in this order:`,
    ...order.map(({ kind, namespace, name }) => `  ${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`),
  ];
  return `${lines.join('\n')}\n`;
}
