import { join } from 'node:path';
import type { Command } from 'commander';
import { SidelockError } from '../base/errors.ts';
import { STATE_DIR } from '../store/layout.ts';
import { type Context, command } from './command.ts';
import { loadManagerConfig, type ManagerFlags } from './manager-options.ts';
import { table } from './table.ts';
import { addStorageFlags } from './with-manager.ts';

/** A line of the log, as far as it is shown. */
interface Entry {
  readonly seq: number;
  readonly time: string;
  readonly actor: string;
  readonly action: string;
  readonly service?: string;
  readonly serial?: string;
  readonly result: string;
  readonly why?: string;
}

interface ShowFlags extends ManagerFlags {
  readonly service?: string;
  readonly action?: string;
  readonly limit: string;
}

interface VerifyFlags extends ManagerFlags {
  readonly head?: string;
}

export function auditCommand(context: Context): Command {
  return command('audit', {
    summary: 'the log of every certificate operation',
    description: 'Reads the file of the storage; a manager may be running on it.',
    examples: [
      ['sidelock audit show', 'the last entries'],
      ['sidelock audit show --service orders --limit 1000 -o json', 'of one service'],
      ['sidelock audit verify', 'that no line was changed, moved or taken out'],
    ],
  })
    .addCommand(showCommand(context))
    .addCommand(verifyCommand(context));
}

function showCommand(context: Context): Command {
  const { output } = context;
  const made = command('show', {
    summary: 'the last entries',
    description: 'Oldest first. What it shows is not verified.',
    examples: [
      ['sidelock audit show --limit 20', 'the last twenty'],
      ['sidelock audit show --action token_refused', 'of one kind'],
      ['sidelock audit show --service orders', 'of one service'],
    ],
  })
    .optionsGroup('Which')
    .option('--service <NAME>', 'of this service')
    .option('--action <NAME>', 'as in certificate_issued')
    .option('--limit <N>', 'at most so many, the newest', '50');
  return addStorageFlags(made).action(async ({ service, action, limit, ...flags }: ShowFlags) => {
    const most = Number(limit);
    if (!Number.isInteger(most) || most < 1) {
      throw new SidelockError('SL-USAGE-001', `--limit ${limit} is no count`, { fix: 'write --limit 50' });
    }
    const { auditPieces, completeLines } = await import('../manager/audit-pieces.ts');
    const items: Entry[] = [];
    for (const piece of await auditPieces(await auditPath(context, flags))) {
      for await (const line of completeLines(piece)) {
        const entry = parse(line.toString());
        if (entry === undefined || (service !== undefined && entry.service !== service)) continue;
        if (action !== undefined && entry.action !== action) continue;
        items.push(entry);
        if (items.length > most) items.shift();
      }
    }
    output.result({ apiVersion: 'sidelock/v1', kind: 'AuditLog', items }, () =>
      table(
        ['time', 'actor', 'action', 'service', 'result', 'serial', 'why'],
        items.map((e) => [
          e.time.slice(0, 19),
          e.actor,
          e.action,
          e.service ?? '',
          e.result,
          e.serial ?? '',
          e.why ?? '',
        ]),
        { width: output.width },
      ),
    );
  });
}

function verifyCommand(context: Context): Command {
  const { output } = context;
  const made = command('verify', {
    summary: 'check the hash chain',
    description:
      'Finds a line that was changed, moved or taken out; what the manager itself dropped, where its state is in Secrets, is said to be. Lines cut off at the end are found against a head that was kept elsewhere: verify prints it, the log of the manager has it.',
    examples: [
      ['sidelock audit verify', 'the chain in itself'],
      ['sidelock audit verify --head 1204:9f86d081884c7d65…', 'and that it still has what it had'],
      ['sidelock audit verify -o json', 'for a script'],
    ],
  })
    .optionsGroup('Against what')
    .option('--head <SEQ:HASH>', 'as an earlier verify printed it');
  return addStorageFlags(made).action(async ({ head, ...flags }: VerifyFlags) => {
    const { verifyAudit } = await import('../manager/audit-verify.ts');
    const verdict = await verifyAudit(
      await auditPath(context, flags),
      head === undefined ? undefined : parseHead(head),
    );
    const { ok, line, why, dropped } = verdict;
    const kept = `${verdict.head.seq}:${verdict.head.hash}`;
    const entries = verdict.head.seq - dropped;
    const good = (line ?? 1) - 1;
    if (!ok) context.exitCode = 1;
    output.result(
      { apiVersion: 'sidelock/v1', kind: 'AuditVerdict', ok, line, why, entries, dropped, head: kept },
      () =>
        ok
          ? `${output.style('green', output.signs.ok)} ${entries} entries${dropped === 0 ? '' : `, the ${dropped} before them were dropped`}, head ${kept}\n`
          : `${output.style('red', output.signs.fail)} line ${line}: ${why}\n${good === 0 ? '' : `  the ${good} entries before it are good\n`}`,
    );
  });
}

async function auditPath(context: Context, flags: ManagerFlags): Promise<string> {
  const { storage } = await loadManagerConfig(context, flags);
  const path = join(storage.path, STATE_DIR, 'audit.log');
  const { auditPieces } = await import('../manager/audit-pieces.ts');
  if ((await auditPieces(path)).length > 0) return path;
  throw new SidelockError('SL-STORE-003', `there is no audit log in ${storage.path}`, {
    why: 'no manager has run there yet, or the log was taken away',
    fix: 'give --storage or MTLS_STORAGE_PATH',
  });
}

function parse(line: string): Entry | undefined {
  try {
    const { prev: _, hash: __, ...entry } = JSON.parse(line) as Entry & { prev: unknown; hash: unknown };
    return entry;
  } catch {
    return undefined;
  }
}

function parseHead(text: string): { readonly seq: number; readonly hash: string } {
  const match = /^(\d+):([0-9a-f]{64})$/.exec(text);
  if (match?.[2] !== undefined) return { seq: Number(match[1]), hash: match[2] };
  throw new SidelockError('SL-USAGE-001', `--head ${text} is no head of an audit log`, {
    fix: 'give what audit verify printed',
  });
}
