import type { Command } from 'commander';
import { SERVICE_TYPES } from '../pki/profiles.ts';
import { type Context, command, list } from './command.ts';
import type { ManagerFlags } from './manager-options.ts';
import { day, roughly } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface GenerateFlags extends ManagerFlags {
  readonly service: string;
  readonly type: string;
  readonly sans?: readonly string[];
  readonly namespace?: string;
}

export function generateCommand(context: Context): Command {
  const { output } = context;
  const made = command('generate', {
    summary: 'make key and certificate of a service, into the storage',
    description:
      'Writes cert.pem, key.pem and ca.pem to STORAGE/SERVICE, all three at once. Makes the certificate authority where there is none yet.',
    examples: [
      [
        'sidelock generate --service ai-conversation-service --type ai_service --sans ai-service.internal,ai.local',
        'with further names',
      ],
      ['sidelock generate --service orders', 'with the names that every service has'],
      ['openssl verify -CAfile pki/orders/ca.pem pki/orders/cert.pem', 'what was made, by somebody else'],
    ],
  })
    .optionsGroup('The identity')
    .requiredOption('--service <NAME>', 'name of the service')
    .option('--type <TYPE>', `profile: ${SERVICE_TYPES.join(', ')}`, 'api_service')
    .option('--sans <LIST>', 'further DNS names or addresses', list)
    .option('--namespace <NAME>', 'its namespace; default unless given');
  return addStorageFlags(made).action(async (flags: GenerateFlags) => {
    const { service, type, sans, namespace } = flags;
    const { certificate } = await withManager(context, flags, {
      create: true,
      work: (client) => client.generate({ service, type, namespace, sans: sans && [...sans] }),
    });
    const { directory = '', notAfter, spiffeId, serial } = certificate;
    output.result(certificate, () =>
      [
        `${output.style('green', output.signs.ok)} ${service}  ${spiffeId}`,
        `  files   ${directory}/{cert.pem,key.pem,ca.pem}`,
        `  until   ${day(notAfter)} (${roughly(notAfter - certificate.issuedAt)})   serial ${serial}`,
        `  names   ${certificate.sans.join(', ')}\n`,
      ].join('\n'),
    );
  });
}
