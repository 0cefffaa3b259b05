import { type Command, Option } from 'commander';
import { type PlaintextAnswer, plaintextAnswer } from '../api/wire-sidecar.ts';
import { SidelockError } from '../base/errors.ts';
import { parseDuration } from '../config/units.ts';
import { addAdminFlag, askAdmin } from './admin.ts';
import { type Context, command, list } from './command.ts';
import { changeMode } from './migrate-change.ts';
import { judge, namesOf, type Verdict } from './migrate-verdict.ts';

interface MigrateFlags {
  readonly admin: string;
  readonly window: string;
  readonly to?: 'strict' | 'permissive';
  readonly config?: string;
  readonly listener?: readonly string[];
  readonly force?: boolean;
}

export function migrateCommand(context: Context): Command {
  const made = command('migrate', {
    summary: 'whether permissive listeners can become strict, and the change',
    description:
      'Per listener of a running sidecar: since when it is permissive, who still calls without TLS, and whether mode: strict is safe. Exits 1 while it is not. With --to strict it writes the mode into the config file, which the sidecar follows without a restart: refused while somebody would be cut off. No connection that is open is closed.',
    examples: [
      ['sidelock migrate', 'of the sidecar on 127.0.0.1:9901'],
      ['sidelock migrate --window 1d -o json', 'a day without plaintext is enough; for a script'],
      ['sidelock migrate --to strict --config sidecar.yaml', 'where it is safe, all of them'],
      ['sidelock migrate --to permissive --config sidecar.yaml --listener inbound', 'and back'],
    ],
  });
  return addAdminFlag(made)
    .option('--window <DURATION>', 'safe after this long without a caller in plaintext', '7d')
    .optionsGroup('Change')
    .addOption(
      new Option('--to <MODE>', 'the mode they get, in the file and in the sidecar').choices(['strict', 'permissive']),
    )
    .option('--config <FILE>', 'config file that the sidecar was started with')
    .option('--listener <NAME>', 'only these; may be repeated', list)
    .option('--force', 'strict although somebody will be cut off')
    .action((flags: MigrateFlags) => migrate(context, flags));
}

async function migrate(context: Context, flags: MigrateFlags): Promise<void> {
  const { output } = context;
  const { admin, window, to, config, listener } = flags;
  const windowMs = parseDuration(window);
  if (typeof windowMs !== 'number') throw new SidelockError('SL-USAGE-001', `--window ${window}: ${windowMs.problem}`);
  if ((to === undefined) !== (config === undefined)) {
    throw new SidelockError('SL-USAGE-001', '--to and --config belong together');
  }
  const look = async () => plaintextAnswer.parse(await askAdmin(admin, '/plaintext'));
  const now = await look();
  const names = await namesOf(now.permissive.flatMap(({ callers }) => callers.map(({ address }) => address)));
  const verdicts = now.permissive
    .filter((one) => wanted(one.listener, listener))
    .map((one) => judge(one, { now: Date.parse(now.now), windowMs, names }));
  const strict = now.strict.filter((name) => wanted(name, listener));
  for (const name of listener ?? []) {
    if ([...now.strict, ...now.permissive.map((one) => one.listener)].includes(name)) continue;
    throw new SidelockError('SL-USAGE-001', `the sidecar has no inbound "${name}"`);
  }
  if (to === undefined || config === undefined) {
    if (verdicts.some(({ safe }) => !safe)) context.exitCode = 1;
    output.result({ strict, permissive: verdicts }, () => report(context, strict, verdicts));
    return;
  }
  if (to === 'strict' && flags.force !== true) refuseUnsafe(verdicts);
  const changed = to === 'strict' ? verdicts.map((one) => one.listener) : strict;
  await changeMode({ context, file: config, names: changed, mode: to, look });
  const { ok, warn } = output.signs;
  output.result({ mode: to, changed, file: config }, () =>
    changed.length === 0
      ? `nothing to change: ${to} already\n`
      : [
          ...changed.map((name) => `${ok} ${name}: ${to} now, also after a restart (${config})\n`),
          ...verdicts
            .filter(({ open }) => to === 'strict' && open > 0)
            .map((one) => `${warn} ${one.listener}: ${one.open} connections in plaintext stay until they end\n`),
        ].join(''),
  );
}

function wanted(name: string, only: readonly string[] | undefined): boolean {
  return only === undefined || only.includes(name);
}

function refuseUnsafe(verdicts: readonly Verdict[]): void {
  const unsafe = verdicts.filter(({ safe }) => !safe);
  if (unsafe.length === 0) return;
  throw new SidelockError(
    'SL-MODE-001',
    `strict would cut somebody off: ${unsafe.map((one) => one.listener).join(', ')}`,
    {
      why: unsafe.map(({ listener, reasons }) => `${listener}: ${reasons.join('; ')}`).join(' · '),
      data: { listeners: unsafe },
    },
  );
}

function report({ output }: Context, strict: PlaintextAnswer['strict'], verdicts: readonly Verdict[]): string {
  const { ok, fail } = output.signs;
  return [
    ...strict.map((name) => `${ok} ${name}: strict already\n`),
    ...verdicts.map(({ listener, safe, watched, reasons }) =>
      [
        `${safe ? ok : fail} ${listener}: permissive, watched for ${watched}`,
        ...reasons,
        safe ? 'nobody would be cut off: strict is safe' : 'not yet: keep mode: permissive',
      ].join('\n    '),
    ),
  ]
    .map((text) => (text.endsWith('\n') ? text : `${text}\n`))
    .join('');
}
