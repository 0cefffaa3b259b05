import type { Command } from 'commander';
import { SECOND, systemClock } from '../base/clock.ts';
import { writeFileDurable } from '../store/files.ts';
import { type Context, command, list } from './command.ts';
import { durationFlag } from './duration.ts';
import type { ManagerFlags } from './manager-options.ts';
import { roughly, table } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

export function tokenCommand(context: Context): Command {
  return command('token', {
    summary: 'join tokens, with which a sidecar enrols',
    description: 'A join token is good for one certificate of one service, once, for some minutes.',
    examples: [
      ['sidelock token create orders', 'prints the token and nothing else'],
      ['sidelock token list', 'which are open, used or expired'],
      ['sidelock token revoke 3f0a9c1b2d4e5f60', 'one that must not be used any more'],
    ],
  })
    .addCommand(createCommand(context))
    .addCommand(listCommand(context))
    .addCommand(revokeCommand(context));
}

interface CreateFlags extends ManagerFlags {
  readonly namespace?: string;
  readonly type?: string;
  readonly sans?: readonly string[];
  readonly ttl?: string;
  readonly wait?: string;
  readonly output?: string;
}

function createCommand(context: Context): Command {
  const { output } = context;
  const made = command('create', {
    summary: 'make one, printed alone on standard output',
    description: 'Prints the token and nothing else, so that it can be substituted into another command.',
    examples: [
      ['sidelock token create orders', 'for the service orders'],
      [
        'sidelock run --service orders --token "$(sidelock token create orders)" --inbound 8443:8080 --allow web -- node app.js',
        'in one go',
      ],
      ['sidelock token create orders --ttl 2m --output /run/sidelock/token', 'by file, where no other user sees it'],
      ['sidelock token create orders --wait 60s --output /run/sidelock/token', 'beside a manager that is starting'],
    ],
  })
    .argument('<service>', 'name of the service')
    .optionsGroup('The identity')
    .option('--namespace <NAME>', 'its namespace; default unless given')
    .option('--type <TYPE>', 'profile of its certificate; api_service unless given')
    .option('--sans <LIST>', 'further DNS names or addresses of its certificate', list)
    .option('--ttl <DURATION>', 'how long the token is good, as in 2m')
    .optionsGroup('Where and when')
    .option('--output <FILE>', 'write it there, for its owner alone, and print nothing')
    .option('--wait <DURATION>', 'wait so long for a manager to run, as in 60s');
  return addStorageFlags(made).action(async (service: string, flags: CreateFlags) => {
    const { namespace, type, sans, ttl, wait, output: file } = flags;
    const ttlSeconds = ttl === undefined ? undefined : Math.floor(durationFlag('--ttl', ttl, SECOND) / SECOND);
    const waitMs = wait === undefined ? undefined : durationFlag('--wait', wait, SECOND);
    const request = { service, namespace, type, sans: sans && [...sans], ttlSeconds };
    const created = await withManager(context, flags, { waitMs, work: (client) => client.createToken(request) });
    if (file !== undefined) return await writeFileDurable(file, `${created.token}\n`, 0o600);
    output.result({ ...created, expiresAt: new Date(created.expiresAt).toISOString() }, () => `${created.token}\n`);
  });
}

function listCommand(context: Context): Command {
  const { output } = context;
  const made = command('list', {
    summary: 'which there are, and what became of them',
    description: 'Shows tokens by id. The tokens themselves are kept nowhere.',
    examples: [
      ['sidelock token list', 'as a table'],
      ['sidelock token list -o json', 'for a script'],
    ],
  });
  return addStorageFlags(made).action(async (flags: ManagerFlags) => {
    const { tokens } = await withManager(context, flags, { work: (client) => client.listTokens() });
    const now = systemClock.now();
    const items = tokens.map((token) => ({
      ...token,
      issuedAt: new Date(token.issuedAt).toISOString(),
      expiresAt: new Date(token.expiresAt).toISOString(),
      secondsLeft: Math.max(0, Math.floor((token.expiresAt - now) / 1_000)),
    }));
    output.result({ apiVersion: 'sidelock/v1', kind: 'TokenList', items }, () =>
      table(
        ['id', 'service', 'namespace', 'state', 'left', 'used by'],
        tokens.map(({ id, service, namespace, state, expiresAt, usedBy }) => {
          const left = state === 'open' ? roughly(expiresAt - now) : '';
          return [id, service, namespace, state, left, usedBy ?? ''];
        }),
        { width: output.width },
      ),
    );
  });
}

function revokeCommand(context: Context): Command {
  const made = command('revoke', {
    summary: 'make an unused one useless',
    description: 'A certificate that was already issued for a token is not touched.',
    examples: [['sidelock token revoke 3f0a9c1b2d4e5f60', 'by the id that `sidelock token list` shows']],
  }).argument('<id>', 'as `sidelock token list` shows it');
  return addStorageFlags(made).action(async (id: string, flags: ManagerFlags) => {
    await withManager(context, flags, { work: (client) => client.revokeToken(id) });
    context.output.result({ revoked: id }, () => `${context.output.signs.ok} token ${id} is revoked\n`);
  });
}
