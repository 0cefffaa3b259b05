import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { TrustStatusAnswer } from '../api/wire-trust.ts';
import { systemClock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { STATE_DIR } from '../store/layout.ts';
import { type Context, command } from './command.ts';
import { confirmed, refuseSilence } from './confirm.ts';
import { printable } from './failure.ts';
import { loadManagerConfig, type ManagerFlags, readSecret } from './manager-options.ts';
import { longEnough } from './passphrase.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface RootFlags extends ManagerFlags {
  readonly passphraseFile: string;
  readonly dryRun?: boolean;
}

export function offlineCommand(context: Context): Command {
  const { output } = context;
  const made = command('offline', {
    summary: 'take the key of the root out of the storage; its issuer goes on',
    description:
      'For a CA with an issuing certificate (ca.issuer). The key is written to a file, encrypted, and read back before it leaves the storage. Certificates, renewals and revocations go on by the issuer; sidelock trust stage needs the root again. Backups made before hold the key still.',
    examples: [
      [
        'sidelock ca offline --output /media/usb/root.key --passphrase-file root.pass',
        'onto something that is then locked away',
      ],
      ['sidelock ca online /media/usb/root.key --passphrase-file root.pass --dry-run', 'whether it can be read there'],
    ],
  })
    .optionsGroup('The key')
    .requiredOption('--output <FILE>', 'a file that does not exist yet')
    .requiredOption('--passphrase-file <FILE>', 'first line: what the file is encrypted with')
    .option('--dry-run', 'only say what stands against it')
    .option('--yes', 'do not ask');
  return addStorageFlags(made).action(
    async (flags: RootFlags & { readonly output: string; readonly yes?: boolean }) => {
      const exportPassphrase = longEnough(flags.passphraseFile);
      const { storage, ca } = await loadManagerConfig(context, flags);
      const file = resolve(flags.output);
      const unless = 'the key stays where it is';
      const asks = flags.yes !== true && flags.dryRun !== true;
      if (asks) refuseSilence(unless);
      const status = await withManager(context, flags, {
        async work(client) {
          const before = await client.rootKey({ dryRun: true });
          if (flags.dryRun === true) return before;
          const root = signing(before);
          if (asks && !(await confirmed(`The key of ${root.subject} leaves ${storage.path}. Go on?`))) return undefined;
          const { exportRootKey } = await import('../manager/root-export.ts');
          await exportRootKey({
            stateDirectory: join(storage.path, STATE_DIR),
            number: root.number,
            passphrase: ca.passphraseFile === undefined ? undefined : readSecret(ca.passphraseFile, 'passphrase'),
            output: file,
            ...{ exportPassphrase, clock: systemClock },
          });
          return await client.rootKey({ root: root.sha256 });
        },
      });
      if (status === undefined) {
        context.exitCode = 1;
        return output.note(unless);
      }
      const { subject, sha256, key } = signing(status);
      const done = flags.dryRun !== true;
      output.result(
        { apiVersion: 'sidelock/v1', kind: 'RootKeyResult', root: sha256, key, ...(done ? { file } : {}) },
        () =>
          done
            ? [
                `${output.style('green', output.signs.ok)} the key of ${printable(subject)} is in ${file} and nowhere else\n`,
                '  next  lock it away with a copy, keep its passphrase elsewhere, make a new backup and destroy older ones\n',
              ].join('')
            : `${output.signs.ok} the key of ${printable(subject)} can be taken offline; nothing was changed\n`,
      );
    },
  );
}

export function onlineCommand(context: Context): Command {
  const { output } = context;
  const made = command('online', {
    summary: 'put the key of the root back',
    description:
      'Proves that the file opens and holds the key of the root that signs, then puts it into the storage, encrypted as the other keys are. Take it offline again when the work is done.',
    examples: [
      ['sidelock ca online /media/usb/root.key --passphrase-file root.pass', 'before sidelock trust stage'],
      ['sidelock ca online /media/usb/root.key --passphrase-file root.pass --dry-run', 'a rehearsal, once a year'],
    ],
  })
    .argument('<file>', 'as `sidelock ca offline` wrote it')
    .optionsGroup('The key')
    .requiredOption('--passphrase-file <FILE>', 'first line: what the file is encrypted with')
    .option('--dry-run', 'only prove that it could be put back');
  return addStorageFlags(made).action(async (file: string, flags: RootFlags) => {
    const { readRootExport } = await import('../manager/root-export.ts');
    const dryRun = flags.dryRun === true;
    const held = await readRootExport(resolve(file), readSecret(flags.passphraseFile, 'passphrase'));
    const status = await withManager(context, flags, { work: (client) => client.rootKey({ ...held, dryRun }) });
    const { subject, sha256, key } = signing(status);
    output.result({ apiVersion: 'sidelock/v1', kind: 'RootKeyResult', root: sha256, key, dryRun }, () =>
      dryRun
        ? `${output.signs.ok} ${file} holds the key of ${printable(subject)}; nothing was changed\n`
        : [
            `${output.style('green', output.signs.ok)} the key of ${printable(subject)} is back\n`,
            '  next  sidelock ca offline   when the work is done\n',
          ].join(''),
    );
  });
}

function signing({ roots }: TrustStatusAnswer) {
  const root = roots.find(({ state }) => state === 'signs');
  if (root === undefined) throw new SidelockError('SL-CA-006', 'no root signs here');
  return root;
}
