import { type Command, Option } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { type Context, command } from './command.ts';
import { createLogging } from './logging.ts';
import { loadManagerConfig, type ManagerFlags, readSecret } from './manager-options.ts';
import { addStorageFlags } from './with-manager.ts';

interface PassphraseFlags extends ManagerFlags {
  readonly passphraseFile?: string;
  readonly newPassphraseFile?: string;
  readonly remove?: boolean;
}

const MIN_PASSPHRASE = 12;

export function caCommand(context: Context): Command {
  return command('ca', {
    summary: 'the keys of the certificate authority at rest',
    description: 'For a storage on which no manager runs.',
    examples: [['sidelock ca passphrase --new-passphrase-file ca.pass', 'encrypt the keys']],
  }).addCommand(passphraseCommand(context));
}

function passphraseCommand(context: Context): Command {
  const { output } = context;
  const made = command('passphrase', {
    summary: 'encrypt the keys of the CA at rest, change the passphrase, or take it away',
    description:
      'Every key is opened before the first is written, so a wrong passphrase changes nothing. What was interrupted is finished by running it again. The manager then needs ca.passphraseFile (MTLS_CA_PASSPHRASE_FILE). Backups made before keep the old passphrase inside.',
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

function longEnough(path: string): string {
  const passphrase = readSecret(path, 'passphrase');
  if (passphrase.length >= MIN_PASSPHRASE) return passphrase;
  throw new SidelockError('SL-CA-002', `the passphrase in ${path} is too short`, {
    why: `it has ${passphrase.length} characters; at least ${MIN_PASSPHRASE} are needed`,
    fix: `openssl rand -base64 24 > ${path}`,
  });
}
