import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { type Context, command } from './command.ts';
import { createLogging } from './logging.ts';
import { loadManagerConfig, type ManagerFlags, readSecret } from './manager-options.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface BackupFlags extends ManagerFlags {
  readonly output: string;
  readonly passphraseFile?: string;
  readonly verify?: boolean;
}

const PASSPHRASE_VARIABLE = 'MTLS_BACKUP_PASSPHRASE_FILE';
const MIN_PASSPHRASE = 12;

export function backupCommand(context: Context): Command {
  const { output } = context;
  const made = command('backup', {
    summary: 'CA, certificates, tokens and audit log in one encrypted file',
    description: `Works beside a running manager. The file is encrypted with a passphrase of at least ${MIN_PASSPHRASE} characters, which is read from a file; without that file the backup is of no use, so keep it elsewhere.`,
    examples: [
      ['sidelock backup --output /backup/mtls --passphrase-file backup.pass', 'a file, or a new one in that directory'],
      [
        'sidelock backup --output /backup/mtls --passphrase-file backup.pass --verify',
        'and restore it once, to compare',
      ],
      [`${PASSPHRASE_VARIABLE}=backup.pass sidelock backup --output today.backup`, 'for cron'],
    ],
  })
    .optionsGroup('The backup')
    .requiredOption('--output <PATH>', 'a file that does not exist yet, or a directory')
    .addOption(passphraseOption())
    .option('--verify', 'restore it beside the output and compare every file');
  return addStorageFlags(made).action(async (flags: BackupFlags) => {
    const passphrase = passphraseOf(context, flags);
    const { storage } = await loadManagerConfig(context, flags);
    const file = outputFile(flags.output);
    const verify = flags.verify === true;
    const { createBackup } = await import('../manager/backup.ts');
    const result = await withManager(context, flags, {
      work: async (client) => {
        await client.noteBackup(file);
        const log = createLogging(output, { level: 'warn' });
        return await output.progress.during(`writing ${file}`, () =>
          createBackup({ storagePath: storage.path, output: file, passphrase, verify, clock: systemClock, log }),
        );
      },
    });
    const done = verify ? 'written, restored once and compared' : 'written';
    output.result({ apiVersion: 'sidelock/v1', kind: 'BackupResult', file, ...result }, () =>
      [
        `${output.style('green', output.signs.ok)} ${file}  ${result.files} files, ${result.bytes} bytes, ${done}`,
        `  next  sidelock restore ${file} --storage DIR --passphrase-file FILE   on another machine, to be sure\n`,
      ].join('\n'),
    );
  });
}

export function restoreCommand(context: Context): Command {
  const { output } = context;
  const made = command('restore', {
    summary: 'a storage as a backup has it, where there is none',
    description:
      'The whole backup is read and proven before a byte is written. Never over a storage that is in use or holds anything.',
    examples: [
      ['sidelock restore today.backup --storage ./pki --passphrase-file backup.pass', 'then start the manager on it'],
      ['sidelock restore today.backup --storage /tmp/look --passphrase-file backup.pass', 'to look into it'],
    ],
  })
    .argument('<file>', 'as `sidelock backup` wrote it')
    .optionsGroup('The backup')
    .addOption(passphraseOption());
  return addStorageFlags(made).action(async (file: string, flags: Omit<BackupFlags, 'output'>) => {
    const passphrase = passphraseOf(context, flags);
    const { storage } = await loadManagerConfig(context, flags);
    const { restoreBackup } = await import('../manager/backup.ts');
    const log = createLogging(output, { level: 'warn' });
    const storagePath = resolve(storage.path);
    const { files } = await output.progress.during(`restoring ${file}`, () =>
      restoreBackup({ archive: file, storagePath, passphrase, clock: systemClock, log }),
    );
    output.result({ apiVersion: 'sidelock/v1', kind: 'RestoreResult', storage: storagePath, files }, () =>
      [
        `${output.style('green', output.signs.ok)} ${files} files restored to ${storagePath}`,
        `  next  sidelock validate --storage ${storage.path}, then sidelock manager --storage ${storage.path}`,
        '        Never run it and the manager it was taken from at the same time.\n',
      ].join('\n'),
    );
  });
}

function passphraseOption(): Option {
  return new Option('--passphrase-file <FILE>', `first line: the passphrase; ${PASSPHRASE_VARIABLE} unless given`);
}

function passphraseOf({ env }: Context, flags: Pick<BackupFlags, 'passphraseFile'>): string {
  const path = flags.passphraseFile ?? env[PASSPHRASE_VARIABLE];
  if (path === undefined) {
    throw new SidelockError('SL-BAK-002', 'no passphrase for the backup is given', {
      fix: `write one to a file and give --passphrase-file FILE, or set ${PASSPHRASE_VARIABLE}`,
    });
  }
  const passphrase = readSecret(path, 'passphrase');
  if (passphrase.length >= MIN_PASSPHRASE) return passphrase;
  throw new SidelockError('SL-BAK-002', `the passphrase in ${path} is too short`, {
    why: `it has ${passphrase.length} characters; at least ${MIN_PASSPHRASE} are needed, as it protects the key of the CA`,
    fix: `openssl rand -base64 24 > ${path}`,
  });
}

function outputFile(path: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return resolve(path);
  const time = new Date(systemClock.now()).toISOString().slice(0, 19).replaceAll(':', '');
  return resolve(join(path, `sidelock-${time}Z.backup`));
}
