import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeToken } from '../api/token.ts';
import { systemClock, systemRandom } from '../base/clock.ts';
import { tokenCommand } from '../base/commands.ts';
import { SidelockError } from '../base/errors.ts';
import { formatAddress } from '../base/listen.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { loadConfig } from '../config/load.ts';
import type { SidecarConfig } from '../config/sidecar.ts';
import type { UpstreamAddress } from '../sidecar/options.ts';
import type { Sidecar } from '../sidecar/sidecar.ts';
import type { Context } from './command.ts';
import { readConfigFile } from './config-file.ts';
import type { Output } from './output.ts';
import { type SidecarFlags, sidecarSettings } from './sidecar-flags.ts';
import { IDENTITY_HOME, sidecarOptions } from './sidecar-options.ts';
import { day } from './table.ts';

export async function loadSidecarConfig({ env }: Context, flags: SidecarFlags) {
  const file = flags.config === undefined ? undefined : await readConfigFile(flags.config);
  return loadConfig('Sidecar', { file, env, flags: sidecarSettings(flags, env) });
}

/** Binds every port and starts to obtain an identity. `ready` of the result tells when it serves. */
export async function startConfigured(
  config: SidecarConfig,
  log: Logger,
  metrics: Metrics,
  token?: string,
): Promise<Sidecar> {
  const options = sidecarOptions(config, token);
  if (token !== undefined) checkToken(token, config);
  const { startSidecar } = await import('../sidecar/sidecar.ts');
  if (
    (config.identity.source === 'manager' || config.identity.source === 'kubernetes') &&
    config.identity.directory === undefined
  ) {
    await keepOutOfGit();
  }
  return await startSidecar(options, { clock: systemClock, random: systemRandom, log, metrics });
}

/**
 * A token of the command line that can never work is told at once, rather than tried for ever: the substitution
 * that made it may have failed and left nothing.
 * @throws SL-TOK-001, SL-TOK-004
 */
function checkToken(token: string, { service, namespace }: SidecarConfig): void {
  const { claims } = decodeToken(token);
  if (claims.sub === service && claims.ns === namespace) return;
  throw new SidelockError('SL-TOK-004', `the join token is for ${claims.ns}/${claims.sub}`, {
    why: `this is ${namespace}/${service}`,
    fix: tokenCommand({ service: service ?? 'SERVICE', namespace }),
  });
}

/** The default directory may lie in somebody's repository, and it holds a private key. */
async function keepOutOfGit(): Promise<void> {
  await mkdir(IDENTITY_HOME, { recursive: true, mode: 0o700 });
  await writeFile(join(IDENTITY_HOME, '.gitignore'), '*\n');
}

/** Who the sidecar is and where each of its ports leads, a line each. */
export function describeSidecar(sidecar: Sidecar, config: SidecarConfig, { signs }: Output): string[] {
  const identity = sidecar.identity();
  const until = identity === undefined ? '' : ` until ${day(identity.notAfter)}`;
  const inbound = sidecar.inbound.map(({ address }, i) => {
    const { target, allow = [], policy, mode } = config.inbound[i] ?? {};
    const who = allow === 'any' ? 'any' : allow.map(entryText).join(', ');
    const audit = policy === 'audit' ? ', AUDIT ONLY: others are let through and recorded' : '';
    const tls = mode === 'permissive' ? 'mTLS, and PLAINTEXT FROM ANYBODY' : 'mTLS';
    return `${shown(address)} (${tls}, allow ${who}${audit}) ${signs.to} ${target === undefined ? '' : targetText(target)}`;
  });
  const withPort = config.outbound.filter(({ listen }) => listen !== undefined);
  const outbound = sidecar.outbound.map(({ address }, i) => {
    const { service = '', address: remote, expect = [] } = withPort[i] ?? {};
    const peers = expect.length === 0 ? service : expect.join(', ');
    const at = remote === undefined ? '' : [remote].flat().map(addressText).join(', ');
    return `${shown(address)} ${signs.to} ${service} at ${at}, expecting ${peers}`;
  });
  const names = config.outbound.map(({ name, service }) => name ?? service).join(', ');
  const proxy =
    sidecar.forwardProxy === undefined
      ? []
      : [`HTTP_PROXY=http://${formatAddress(sidecar.forwardProxy)} ${signs.to} ${names}`];
  const admin = sidecar.admin === undefined ? [] : [`admin on http://${formatAddress(sidecar.admin)}`];
  return [`identity ${identity?.spiffeId ?? 'none'}${until}`, ...inbound, ...outbound, ...proxy, ...admin];
}

function addressText(address: UpstreamAddress): string {
  return 'srv' in address ? `srv:${address.srv}` : formatAddress(address);
}

type Allow = SidecarConfig['inbound'][number]['allow'];

function entryText(entry: Exclude<Allow, 'any'>[number]): string {
  if (typeof entry === 'string') return entry;
  const { service, namespace, spiffe, methods, paths } = entry;
  const caller = spiffe ?? (namespace === undefined ? service : `${namespace}/${service ?? '*'}`);
  return [caller, methods?.join('|'), paths?.join('|')].filter((part) => part !== undefined).join(' ');
}

/** `:8443` for every interface. */
function shown({ address: host, port, family }: Sidecar['inbound'][number]['address']): string {
  if (family === 'unix') return `unix:${host}`;
  return host === '0.0.0.0' || host === '::' ? `:${port}` : formatAddress({ host, port });
}

function targetText(target: SidecarConfig['inbound'][number]['target']): string {
  return 'path' in target ? `unix:${target.path}` : formatAddress(target);
}

/** The same for machines. */
export function sidecarDocument(sidecar: Sidecar): object {
  const identity = sidecar.identity();
  return {
    ready: true,
    spiffeId: identity?.spiffeId,
    serial: identity?.serial,
    notAfter: identity && new Date(identity.notAfter).toISOString(),
    inbound: sidecar.inbound,
    outbound: sidecar.outbound,
    forwardProxy: sidecar.forwardProxy,
    admin: sidecar.admin,
  };
}
