import type { Command } from 'commander';
import { SidelockError } from '../base/errors.ts';
import { numberOr } from '../config/environment.ts';
import type { Setting } from '../config/setting.ts';
import { list, repeated } from './command.ts';

/** The flags of `sidecar` and `run`. */
export interface SidecarFlags {
  readonly config?: string;
  readonly service?: string;
  readonly namespace?: string;
  readonly inbound?: readonly string[];
  readonly allow?: readonly unknown[];
  readonly upstream?: readonly string[];
  readonly token?: string;
  readonly tokenFile?: string;
  readonly manager?: string;
  readonly identity?: string;
  readonly forwardProxy?: string;
  readonly admin?: string;
  readonly workers?: string;
  readonly logLevel?: string;
}

export function addSidecarFlags(command: Command): Command {
  return command
    .optionsGroup('Who this is')
    .option('--service <NAME>', 'name of this service')
    .option('--namespace <NAME>', 'its namespace; default unless given')
    .option('--token <TOKEN>', 'join token; works once, but other users of this machine can see it')
    .option('--token-file <FILE>', 'file with the join token')
    .option('--manager <URL>', 'https address of the manager; the token carries it')
    .option(
      '--identity <DIR>',
      'with --service: where certificate and key are kept (.sidelock/SERVICE unless given); without: files that somebody else rotates',
    )
    .optionsGroup('What goes where')
    .option(
      '--inbound <LISTEN:TARGET>',
      'mTLS in, plaintext to the app: 8443:8080, HOST:PORT:HOST:PORT, 8443:unix:/app.sock',
      repeated,
    )
    .option(
      '--allow <LIST>',
      'who may call: SERVICE, NAMESPACE/SERVICE, NAMESPACE/*, a SPIFFE id, a block as JSON; or any',
      callers,
    )
    .option(
      '--upstream <[LISTEN=]SERVICE@HOST:PORT>',
      'plaintext from the app, mTLS out: 9101=orders@10.0.0.5:8443; without LISTEN= by --forward-proxy alone',
      repeated,
    )
    .option('--forward-proxy <HOST:PORT>', 'for HTTP_PROXY of the app: http://SERVICE/ leads to each --upstream')
    .optionsGroup('Running')
    .option('--config <FILE>', 'config file of kind Sidecar; flags and MTLS_ variables win over it')
    .option(
      '--admin <HOST:PORT>',
      'serve /healthz /readyz /metrics /identity /connections /endpoints /policy /plaintext there',
    )
    .option('--workers <N>', 'threads that serve, for more than one core; 1 unless given')
    .option('--log-level <LEVEL>', 'trace, debug, info, warn, error or silent');
}

/** What the flags say, as settings of the Sidecar config. @throws SL-USAGE-001 */
export function sidecarSettings(flags: SidecarFlags, env: Readonly<Record<string, string | undefined>>): Setting[] {
  const settings: Setting[] = [];
  const set = (path: Setting['path'], value: unknown, name: string) => {
    if (value !== undefined) settings.push({ path, value, origin: { from: 'flag', name } });
  };
  if (flags.config === undefined && env['MTLS_IDENTITY_SOURCE'] === undefined) {
    const files = flags.identity !== undefined && flags.service === undefined && env['MTLS_SERVICE'] === undefined;
    set(['identity', 'source'], files ? 'files' : 'manager', '--identity');
  }
  set(['service'], flags.service, '--service');
  set(['namespace'], flags.namespace, '--namespace');
  set(['identity', 'tokenFile'], flags.tokenFile, '--token-file');
  set(['identity', 'address'], flags.manager, '--manager');
  set(['identity', 'directory'], flags.identity, '--identity');
  set(['inbound'], inboundOf(flags), '--inbound');
  set(['outbound'], flags.upstream?.map(parseUpstream), '--upstream');
  set(['forwardProxy', 'listen'], flags.forwardProxy, '--forward-proxy');
  set(['admin', 'listen'], flags.admin, '--admin');
  set(['workers'], flags.workers === undefined ? undefined : numberOr(flags.workers), '--workers');
  set(['log', 'level'], flags.logLevel, '--log-level');
  return settings;
}

function inboundOf({ inbound, allow }: SidecarFlags): object[] | undefined {
  if (inbound === undefined) {
    if (allow === undefined) return undefined;
    throw new SidelockError('SL-USAGE-001', '--allow says who may call, but there is no --inbound to call');
  }
  const who = allow?.length === 1 && allow[0] === 'any' ? 'any' : allow;
  return inbound.map((text) => ({ ...parseInbound(text), ...(who === undefined ? {} : { allow: who }) }));
}

/** A block has commas of its own, so it stands alone. */
function callers(value: string, before: readonly unknown[] = []): unknown[] {
  if (!value.trimStart().startsWith('{')) return [...before, ...list(value)];
  try {
    return [...before, JSON.parse(value)];
  } catch (cause) {
    throw new SidelockError('SL-USAGE-001', `--allow ${value} is not JSON`, {
      fix: `write --allow '{"service": "web"}'`,
      cause,
    });
  }
}

const HOST = String.raw`(?:\[[^\]\s]+\]|(?!\d+:)[^:[\]\s]+)`;
const INBOUND = new RegExp(String.raw`^((?:${HOST}:|:)?\d{1,5}):(unix:\S+|(?:${HOST}:)?\d{1,5})$`);

/** `8443:8080`, and with hosts on either side. What each side is worth is for the config schema to judge. */
function parseInbound(text: string): { readonly listen: string; readonly target: string } {
  const [, listen, target] = INBOUND.exec(text) ?? [];
  if (listen !== undefined && target !== undefined) return { listen, target };
  throw new SidelockError('SL-USAGE-001', `--inbound ${text} is not LISTEN:TARGET`, {
    fix: 'write 8443:8080, 0.0.0.0:8443:127.0.0.1:8080 or 8443:unix:/run/app.sock',
  });
}

/** `9101=orders@10.0.0.5:8443`, or without a port of its own. */
function parseUpstream(text: string): { readonly listen?: string; readonly service: string; readonly address: string } {
  const [, listen, service, address] = /^(?:([^=\s]+)=)?([^=@\s]+)@(\S+)$/.exec(text) ?? [];
  if (service !== undefined && address !== undefined) {
    return { ...(listen === undefined ? {} : { listen }), service, address };
  }
  throw new SidelockError('SL-USAGE-001', `--upstream ${text} is not LISTEN=SERVICE@HOST:PORT`, {
    fix: 'write 9101=orders@10.0.0.5:8443',
  });
}
