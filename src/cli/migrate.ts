import type { Command } from 'commander';
import { type PlaintextListenerReport, plaintextAnswer } from '../api/wire-sidecar.ts';
import { SidelockError } from '../base/errors.ts';
import { parseDuration } from '../config/units.ts';
import { addAdminFlag, askAdmin } from './admin.ts';
import { type Context, command } from './command.ts';
import { roughly } from './table.ts';

interface MigrateFlags {
  readonly admin: string;
  readonly window: string;
}

export function migrateCommand(context: Context): Command {
  const { output } = context;
  const made = command('migrate', {
    summary: 'whether permissive listeners can become strict',
    description:
      'Per listener of a running sidecar: since when it is permissive, who still calls without TLS, and whether mode: strict is safe. Exits 1 while it is not. What was seen before the sidecar started is not known.',
    examples: [
      ['sidelock migrate', 'of the sidecar on 127.0.0.1:9901'],
      ['sidelock migrate --window 1d', 'a day without plaintext is enough'],
      ['sidelock migrate -o json', 'for a script'],
    ],
  });
  return addAdminFlag(made)
    .option('--window <DURATION>', 'safe after this long without a caller in plaintext', '7d')
    .action(async ({ admin, window }: MigrateFlags) => {
      const windowMs = parseDuration(window);
      if (typeof windowMs !== 'number')
        throw new SidelockError('SL-USAGE-001', `--window ${window}: ${windowMs.problem}`);
      const { now, strict, permissive } = plaintextAnswer.parse(await askAdmin(admin, '/plaintext'));
      const judged = permissive.map((one) => ({ ...one, ...judge(one, Date.parse(now), windowMs) }));
      if (judged.some(({ safe }) => !safe)) context.exitCode = 1;
      output.result({ strict, permissive: judged }, () => {
        const { ok, fail } = output.signs;
        return [
          ...strict.map((name) => `${ok} ${name}: strict already\n`),
          ...judged.map(
            ({ listener, safe, lines }) =>
              `${safe ? ok : fail} ${listener}: ${lines.join('\n    ')}\n${safe ? '' : '    not yet: keep mode: permissive\n'}`,
          ),
        ].join('');
      });
    });
}

/** Safe: watched for the whole window, and no plaintext in it. */
function judge({ since, callers, other, open }: PlaintextListenerReport, now: number, windowMs: number) {
  const watched = now - Date.parse(since);
  const recent = callers.filter(({ lastSeen }) => now - Date.parse(lastSeen) <= windowMs);
  const others = other.lastSeen !== undefined && now - Date.parse(other.lastSeen) <= windowMs;
  const safe = watched >= windowMs && recent.length === 0 && !others && open === 0;
  const lines = [
    `permissive for ${roughly(watched)}`,
    ...recent.map(
      ({ address, connections, lastSeen }) =>
        `${address} called in plaintext: ${connections} connections, the last ${roughly(now - Date.parse(lastSeen))} ago`,
    ),
    ...(others ? [`${other.connections} connections in plaintext of callers beyond those kept`] : []),
    ...(open > 0 ? [`${open} connections in plaintext are open`] : []),
    ...(watched < windowMs ? [`watched for ${roughly(watched)} of ${roughly(windowMs)}`] : []),
    ...(safe ? [`no plaintext for ${roughly(windowMs)}: mode: strict is safe`] : []),
  ];
  return { safe, lines };
}
