import { type Command, Option } from 'commander';
import type { CertificateRecord } from '../api/wire.ts';
import { systemClock } from '../base/clock.ts';
import { type Context, command } from './command.ts';
import type { ManagerFlags } from './manager-options.ts';
import { day, roughly, table } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface ListFlags extends ManagerFlags {
  readonly sortBy: 'name' | 'expiry';
  readonly wide?: boolean;
  readonly headers: boolean;
}

export function listCommand(context: Context): Command {
  const { output } = context;
  const made = command('list', {
    summary: 'what was issued, and until when it is good',
    description: 'The newest certificate of each service, whoever holds its key.',
    examples: [
      ['sidelock list', 'as a table'],
      ['sidelock list --sort-by expiry --wide', 'what ends first, with serial and SPIFFE id'],
      ['sidelock list -o json', 'for a script'],
    ],
  })
    .optionsGroup('Table')
    .addOption(new Option('--sort-by <KEY>', 'order of the lines').choices(['name', 'expiry']).default('name'))
    .option('--wide', 'more columns')
    .option('--no-headers', 'without the line of headers');
  return addStorageFlags(made).action(async (flags: ListFlags) => {
    const { certificates } = await withManager(context, flags, { work: (client) => client.listCertificates() });
    const sorted = flags.sortBy === 'expiry' ? certificates.toSorted((a, b) => a.notAfter - b.notAfter) : certificates;
    output.result({ apiVersion: 'sidelock/v1', kind: 'CertificateList', items: sorted.map(item) }, () => {
      if (sorted.length === 0) return 'nothing was issued yet; next: sidelock token create SERVICE\n';
      const headers = [
        'service',
        'namespace',
        'type',
        'until',
        'left',
        'key',
        ...(flags.wide ? ['serial', 'spiffe id'] : []),
      ];
      return table(
        headers,
        sorted.map((c) => row(c, flags.wide === true)),
        { width: output.width, headers: flags.headers },
      );
    });
  });
}

function row(c: CertificateRecord, wide: boolean): string[] {
  const left = c.notAfter - systemClock.now();
  const columns = [c.service, c.namespace, c.type, day(c.notAfter), left > 0 ? roughly(left) : 'expired', c.keyType];
  return wide ? [...columns, c.serial, c.spiffeId] : columns;
}

/** Times as everywhere in JSON of ours: RFC 3339, and what is left of them. */
export function item(c: CertificateRecord): object {
  return {
    ...c,
    notBefore: new Date(c.notBefore).toISOString(),
    notAfter: new Date(c.notAfter).toISOString(),
    issuedAt: new Date(c.issuedAt).toISOString(),
    secondsLeft: Math.floor((c.notAfter - systemClock.now()) / 1_000),
  };
}
