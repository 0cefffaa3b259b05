import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../config/units.ts';
import type { CheckFlags } from './check/find.ts';
import { type Finding, groupOf, type Status } from './check/finding.ts';
import { type Context, command, list } from './command.ts';
import { printable } from './failure.ts';
import type { Output } from './output.ts';
import { addStorageFlags } from './with-manager.ts';

export function checkCommand(context: Context): Command {
  const made = command('check', {
    summary: 'whether everything is as it should be, and what to do about what is not',
    description:
      'Looks at this machine, the storage, the manager and its certificates, and with --admin at sidecars of this machine. With --kubernetes at a cluster: whether pods get their sidecars. One line a check, with why and fix where something is wrong. Exit code 1 when one is an error. The ids stay the same, for scripts.',
    examples: [
      ['sidelock check --pre', 'before the first start: machine, place, ports'],
      ['sidelock check --fail-on warning', 'all there is to know; exit code 1 for warnings too'],
      [
        'sidelock check --kubernetes',
        'webhook, trust, pods without sidecar, open ports; with --pre before sidelock install',
      ],
      ['sidelock check --admin 127.0.0.1:9901 -o json', 'a sidecar, and whether it serves what was issued'],
    ],
  })
    .optionsGroup('What')
    .option('--pre', 'only what has to be right before a manager starts')
    .option('--kubernetes', 'the cluster of the kubeconfig in place of this machine')
    .option('--namespace <NAME>', 'where sidelock is in it', 'sidelock-system')
    .option('--admin <LIST>', 'admin.listen of sidecars; the manager too only with --storage or --config', list)
    .option('--only <LIST>', 'groups or ids of checks', list)
    .option(
      '--expiry-threshold <DURATION>',
      'certificates that end sooner are told; a quarter of their life unless given',
      duration,
    )
    .addOption(
      new Option('--fail-on <SEVERITY>', 'exit code 1 from here on').choices(['warning', 'error']).default('error'),
    );
  return addStorageFlags(made).action(async (flags: CheckFlags) => {
    // It brings schemas and clients along, which no other command needs at its start.
    const { findAll } = await import('./check/find.ts');
    const wanted = (id: string) => flags.only?.some((only) => id === only || id.startsWith(`${only}.`)) ?? true;
    const findings = (await findAll(context, flags)).filter(({ id }) => wanted(id));
    show(context, findings, flags);
  });
}

function show(context: Context, findings: readonly Finding[], { failOn }: CheckFlags): void {
  const { output } = context;
  const count = (status: Status) => findings.filter((found) => found.status === status).length;
  const summary = { ok: count('ok'), info: count('info'), warnings: count('warning'), errors: count('error') };
  if (summary.errors > 0 || (failOn === 'warning' && summary.warnings > 0)) context.exitCode = 1;
  const items = findings.map((found) => ({ group: groupOf(found), ...found }));
  output.result({ apiVersion: 'sidelock/v1', kind: 'CheckReport', items, summary }, () => {
    const groups = [...Map.groupBy(findings, groupOf)];
    const blocks = groups.map(([name, found]) => [
      output.style('bold', name),
      ...found.flatMap((one) => lines(one, output)),
    ]);
    const { ok, info, warnings, errors } = summary;
    const closing = `${ok} ok, ${info} to know, warnings: ${warnings}, errors: ${errors}`;
    return [...blocks.map((block) => `${block.join('\n')}\n\n`), `${closing}\n`].join('');
  });
}

const WIDTH = 20;

function lines({ id, status, summary, why, fix }: Finding, { signs, style }: Output): string[] {
  const marks = {
    ok: style('green', signs.ok),
    info: style('dim', signs.dash),
    warning: style('yellow', signs.warn),
    error: style('red', signs.fail),
  };
  // A sign alone says nothing to whoever cannot see colours or shapes.
  const word = status === 'ok' ? '' : `${status}: `;
  const more = [
    ...(why === undefined ? [] : [`${style('dim', 'why')}  ${printable(why)}`]),
    ...(fix === undefined ? [] : [`${style('dim', 'fix')}  ${printable(fix)}`]),
  ];
  return [`${marks[status]} ${id.padEnd(WIDTH)}  ${word}${printable(summary)}`, ...more.map((line) => `    ${line}`)];
}

function duration(text: string): number {
  const ms = parseDuration(text);
  if (typeof ms === 'number') return ms;
  throw new InvalidArgumentError(ms.problem);
}
