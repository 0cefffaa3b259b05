import type { Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { type Context, command } from './command.ts';
import { printable } from './failure.ts';
import { item } from './list.ts';
import type { ManagerFlags } from './manager-options.ts';
import { roughly } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface ShowFlags extends ManagerFlags {
  readonly pem?: boolean;
}

export function showCommand(context: Context): Command {
  const { output } = context;
  const made = command('show', {
    summary: 'one certificate in full',
    description: 'The newest certificate of a service; never a key.',
    examples: [
      ['sidelock show orders', 'names, dates, key, fingerprint'],
      ['sidelock show shop/orders', 'of another namespace'],
      ['sidelock show orders --pem | openssl x509 -noout -text', 'for another program'],
    ],
  })
    .argument('<service>', 'SERVICE or NAMESPACE/SERVICE')
    .optionsGroup('What')
    .option('--pem', 'the certificate and its chain as PEM, nothing else');
  return addStorageFlags(made).action(async (service: string, flags: ShowFlags) => {
    const { certificate, pem } = await withManager(context, flags, {
      work: (client) => client.showCertificate(service),
    });
    if (flags.pem === true) return output.raw(pem);
    output.result(item(certificate), () => {
      const left = certificate.notAfter - systemClock.now();
      const rows: ReadonlyArray<readonly [string, string | undefined]> = [
        ['spiffe id', certificate.spiffeId],
        ['type', certificate.type],
        ['valid', `${time(certificate.notBefore)} to ${time(certificate.notAfter)}`],
        ['', left > 0 ? `${roughly(left)} left` : `expired ${roughly(left)} ago`],
        ['names', certificate.sans.join(', ')],
        ['key', certificate.keyType],
        ['serial', certificate.serial],
        ['sha256', certificate.fingerprint256],
        ['issued', `${time(certificate.issuedAt)} by ${certificate.by}`],
        [
          'revoked',
          certificate.revokedAt === undefined
            ? undefined
            : `${time(certificate.revokedAt)}: ${certificate.revocationReason}`,
        ],
        ['replaced by', certificate.supersededBy],
        ['files', certificate.directory ?? 'the key is with its sidecar, not here'],
      ];
      const shown = rows.flatMap(([name, value]) =>
        value === undefined ? [] : [`  ${name.padEnd(11)}  ${printable(value)}\n`],
      );
      return `${output.style('bold', certificate.service)}\n${shown.join('')}`;
    });
  });
}

function time(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
