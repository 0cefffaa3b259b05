import type { Command } from 'commander';
import type { CertificateRecord } from '../api/wire.ts';
import { isSidelockError, SidelockError, SidelockErrors } from '../base/errors.ts';
import { type Context, command, list } from './command.ts';
import { item } from './list.ts';
import type { ManagerFlags } from './manager-options.ts';
import { day, table } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface RotateFlags extends ManagerFlags {
  readonly services?: readonly string[];
  readonly all?: boolean;
}

export function rotateCommand(context: Context): Command {
  const { output } = context;
  const made = command('rotate', {
    summary: 'new key and certificate now, before they are due',
    description:
      'For certificates whose keys the manager holds. Sidecars that enrolled make their own keys and renew by themselves. A failure leaves the old files, and the other services go on.',
    examples: [
      ['sidelock rotate --services ai-service,child-service', 'these two'],
      ['sidelock rotate --all', 'everything the manager holds a key of'],
      ['sidelock rotate --services orders -o json', 'for a script'],
    ],
  })
    .optionsGroup('What')
    .option('--services <LIST>', 'names of services', list)
    .option('--all', 'every service whose key the manager holds');
  return addStorageFlags(made).action(async ({ services = [], all = false, ...flags }: RotateFlags) => {
    if (all === services.length > 0) {
      throw new SidelockError('SL-USAGE-001', 'say which services to rotate', {
        fix: 'give --services NAME,NAME or --all',
      });
    }
    const { rotated, failed } = await withManager(context, flags, {
      work: async (client) => {
        const held = all ? (await client.listCertificates()).certificates.filter((c) => c.directory !== undefined) : [];
        const names = all ? held.map(({ service }) => service) : [...new Set(services)];
        const done: CertificateRecord[] = [];
        const errors: SidelockError[] = [];
        await output.progress.during('rotating', async () => {
          for (const [i, name] of names.entries()) {
            output.progress.tell(`${i + 1}/${names.length}  ${name}`);
            try {
              done.push((await client.rotate(name)).certificate);
            } catch (error) {
              if (!isSidelockError(error) || isSidelockError(error, 'SL-MGR-001')) throw error;
              errors.push(error);
            }
          }
        });
        return { rotated: done, failed: errors };
      },
    });
    const summary = { rotated: rotated.length, failed: failed.length };
    const rows = rotated.map((c) => [c.service, day(c.notAfter), c.serial]);
    output.result({ apiVersion: 'sidelock/v1', kind: 'RotationResult', items: rotated.map(item), summary }, () =>
      rows.length === 0 ? '' : table(['rotated', 'until', 'serial'], rows, { width: output.width }),
    );
    if (failed.length > 0) throw new SidelockErrors('some were not rotated', failed);
  });
}
