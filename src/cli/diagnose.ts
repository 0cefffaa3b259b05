import type { Command } from 'commander';
import { type Context, command, list } from './command.ts';
import type { DiagnoseFlags } from './diagnose-walk.ts';

export function diagnoseCommand(context: Context): Command {
  return command('diagnose', {
    summary: 'walk through a handshake with an mTLS port and explain it',
    description:
      'Resolves, connects, does TLS, judges the certificate of the server as a sidecar would, shows ours, and waits for what the server says to it. One line a step; the first that fails has its reason and what to do. Exit code 1 when one fails. Sends no byte of an app.',
    examples: [
      ['sidelock diagnose orders.internal:8443 --identity .sidelock/web', 'as the sidecar of web'],
      ['sidelock diagnose 10.0.0.5:8443 --config sidecar.yaml', 'as the config says, and expecting whom it expects'],
      ['sidelock diagnose 10.0.0.5:8443 --ca ca.pem -o json', 'without a certificate of ours'],
    ],
  })
    .argument('<host:port>', 'where the peer listens')
    .optionsGroup('As whom')
    .option('--identity <DIR>', 'directory with certificate, key and bundle, as a sidecar has it')
    .option('--config <FILE>', 'config of kind Sidecar: its identity, and expect of the outbound with this address')
    .option('--ca <FILE>', 'roots to judge the server by, in place of those of the identity')
    .optionsGroup('What')
    .option('--expect <LIST>', 'who it must be: SERVICE, NAMESPACE/SERVICE or a SPIFFE id', list)
    .option('--timeout <DURATION>', 'for the connect, and for the handshake', '5s')
    .action(async (address: string, flags: DiagnoseFlags) => {
      // It brings TLS, HTTP and schemas along, which no other command needs at its start.
      const { walk } = await import('./diagnose-walk.ts');
      await walk(context, address, flags);
    });
}
