import { type Command, Option } from 'commander';
import type { RevocationRequest } from '../api/wire.ts';
import { systemClock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { REVOCATION_REASONS, type RevocationReason } from '../pki/crl.ts';
import { type Context, command } from './command.ts';
import { confirmed, refuseSilence } from './confirm.ts';
import type { ManagerFlags } from './manager-options.ts';
import { roughly, table } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface RevokeFlags extends ManagerFlags {
  readonly service?: string;
  readonly serial?: string;
  readonly reason: RevocationReason;
  readonly yes?: boolean;
}

export function revokeCommand(context: Context): Command {
  const { output } = context;
  const made = command('revoke', {
    summary: 'end certificates before their time',
    description:
      'Puts certificates on the revocation list. Sidecars that follow the manager take no new connection from their holders within about a second, and close those that are open. It cannot be undone.',
    examples: [
      ['sidelock revoke --service orders --reason keyCompromise', 'all of orders that could still be used'],
      ['sidelock revoke --serial 4f0a9c1b2d4e5f60 --reason superseded', 'one certificate'],
      ['sidelock revoke --service orders --reason keyCompromise --yes', 'without a question, in a script'],
    ],
  })
    .optionsGroup('Which certificates')
    .option('--service <NAME>', 'all of SERVICE or NAMESPACE/SERVICE')
    .option('--serial <HEX>', 'this one')
    .optionsGroup('How')
    .addOption(
      new Option('--reason <REASON>', 'why they are worth nothing now')
        .choices(Object.keys(REVOCATION_REASONS))
        .makeOptionMandatory(),
    )
    .option('--yes', 'do not ask');
  return addStorageFlags(made).action(async (flags: RevokeFlags) => {
    const { service, serial, reason } = flags;
    if ((service === undefined) === (serial === undefined)) {
      throw new SidelockError('SL-USAGE-001', 'say what to revoke', { fix: 'give either --service or --serial' });
    }
    const request: RevocationRequest = { service, serial, reason };
    const what = service ?? `serial ${serial}`;
    const ask = flags.yes !== true;
    if (ask) refuseSilence(`nothing was revoked of ${what}`);
    const answer = await withManager(context, flags, {
      async work(client) {
        if (ask && !(await agreed(await client.revoke({ ...request, dryRun: true })))) return undefined;
        return await client.revoke(request);
      },
    });
    if (answer === undefined) {
      context.exitCode = 1;
      return output.note('nothing was revoked');
    }
    const { certificates, crlNumber } = answer;
    output.result({ ...answer, reason }, () =>
      certificates.length === 0
        ? `${output.signs.ok} ${what} was revoked before\n`
        : `${output.signs.ok} revoked ${certificates.map((c) => c.serial).join(', ')} of ${certificates[0]?.service} (${reason}), list number ${crlNumber}\n`,
    );
  });

  async function agreed({ certificates }: { certificates: ReadonlyArray<Row> }): Promise<boolean> {
    const now = systemClock.now();
    const rows = certificates.map((c) => [
      c.serial,
      c.spiffeId,
      c.notAfter > now ? roughly(c.notAfter - now) : 'expired',
    ]);
    output.note(table(['serial', 'identity', 'left'], rows, { width: output.width }));
    output.note('Every connection of their holders is closed, and none is taken again. This cannot be undone.');
    return await confirmed(`Revoke ${certificates.length}?`);
  }
}

interface Row {
  readonly serial: string;
  readonly spiffeId: string;
  readonly notAfter: number;
}
