import { type Command, Option } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { importCommand } from './ca-import.ts';
import { offlineCommand, onlineCommand } from './ca-root.ts';
import { type Context, command } from './command.ts';
import { createLogging } from './logging.ts';
import { loadManagerConfig, type ManagerFlags, readSecret } from './manager-options.ts';
import { longEnough, MIN_PASSPHRASE } from './passphrase.ts';
import { addStorageFlags } from './with-manager.ts';

interface PassphraseFlags extends ManagerFlags {
  readonly passphraseFile?: string;
  readonly newPassphraseFile?: string;
  readonly remove?: boolean;
}

export function caCommand(context: Context): Command {
  return command('ca', {
    summary: 'another certificate authority, and where its keys lie',
    description:
      'import, offline and online work beside a running manager and on a storage where none runs; passphrase only on the latter.',
    examples: [
      ['sidelock ca import --cert ca.pem --key ca.key --dry-run', 'what is wrong with a CA, before it is taken over'],
      ['sidelock ca offline --output root.key --passphrase-file root.pass', 'the key of the root leaves the storage'],
      ['sidelock ca passphrase --new-passphrase-file ca.pass', 'encrypt the keys'],
    ],
  })
    .addCommand(importCommand(context))
    .addCommand(offlineCommand(context))
    .addCommand(onlineCommand(context))
    .addCommand(passphraseCommand(context));
}

function passphraseCommand(context: Context): Command {
  const { output } = context;
  const made = command('passphrase', {
    summary: 'encrypt the keys of the CA at rest, change the passphrase, or take it away',
    description:
      'For a storage on which no manager runs. Every key is opened before the first is written, so a wrong passphrase changes nothing. What was interrupted is finished by running it again. The manager then needs ca.passphraseFile (MTLS_CA_PASSPHRASE_FILE). Backups made before keep the old passphrase inside.',
    examples: [
      ['sidelock ca passphrase --new-passphrase-file ca.pass', 'encrypt keys that lie open'],
      ['sidelock ca passphrase --passphrase-file ca.pass --new-passphrase-file next.pass', 'another passphrase'],
      ['sidelock ca passphrase --passphrase-file ca.pass --remove', 'no encryption any more'],
    ],
  })
    .optionsGroup('The passphrase')
    .option(
      '--passphrase-file <FILE>',
      'first line: the one the keys have; ca.passphraseFile of the config unless given',
    )
    .option('--new-passphrase-file <FILE>', `first line: the one they get, ${MIN_PASSPHRASE} characters or more`)
    .addOption(new Option('--remove', 'write the keys without encryption').conflicts('newPassphraseFile'));
  return addStorageFlags(made).action(async (flags: PassphraseFlags) => {
    const { newPassphraseFile, remove = false } = flags;
    if (newPassphraseFile === undefined && !remove) {
      throw new SidelockError('SL-USAGE-001', 'no new passphrase is given', {
        fix: 'give --new-passphrase-file FILE, or --remove',
      });
    }
    const config = await loadManagerConfig(context, flags);
    const currentFile = flags.passphraseFile ?? config.ca.passphraseFile;
    const current = currentFile === undefined ? undefined : readSecret(currentFile, 'passphrase');
    const next = newPassphraseFile === undefined ? undefined : longEnough(newPassphraseFile);
    const { changePassphrase } = await import('../manager/ca-passphrase.ts');
    const log = createLogging(output, { level: 'warn' });
    const storagePath = config.storage.path;
    const result = await output.progress.during('encrypting the keys of the CA', () =>
      changePassphrase({ storagePath, current, next, clock: systemClock, log }),
    );
    output.result(
      { apiVersion: 'sidelock/v1', kind: 'PassphraseResult', ...result, encrypted: next !== undefined },
      () =>
        [
          `${output.signs.ok} ${result.changed} of ${result.keys} keys written ${next === undefined ? 'without encryption' : 'encrypted'}\n`,
          next === undefined ? '' : `  next  set ca.passphraseFile to ${newPassphraseFile}, and make a new backup\n`,
        ].join(''),
    );
  });
}
