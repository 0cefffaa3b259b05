import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeCode, SidelockError } from '../base/errors.ts';
import type { SidecarConfig } from '../config/sidecar.ts';
import type { IdentityOptions, OutboundOptions, RevocationOptions, SidecarOptions } from '../sidecar/options.ts';

/** A default directory for identities, in the working directory. */
export const IDENTITY_HOME = '.sidelock';

/** The config as the options that the sidecar takes. `token` is the one of the command line. @throws SL-CFG-003 */
export function sidecarOptions(config: SidecarConfig, token: string | undefined): SidecarOptions {
  const { service, namespace, trustDomain, limits, admin, health } = config;
  if (config.inbound.length === 0 && config.outbound.length === 0) {
    throw new SidelockError('SL-CFG-003', 'there is nothing for the sidecar to do', {
      why: 'neither inbound nor outbound is configured',
      fix: 'give --inbound 8443:8080 --allow SERVICE, or --upstream 9101=SERVICE@HOST:PORT',
    });
  }
  const identity = identityOptions(config, token);
  // The directories of the other sources are somebody else's.
  const own = identity.source === 'manager' || identity.source === 'kubernetes';
  const stateDirectory = config.state ?? (own ? join(identity.directory, 'seen') : undefined);
  return {
    ...(service === undefined ? {} : { service }),
    namespace,
    trustDomain,
    identity,
    ...(stateDirectory === undefined ? {} : { stateDirectory }),
    inbound: named(config.inbound, () => 'inbound'),
    outbound: named(config.outbound, ({ service: peer }) => peer.replace('/', '-')).map(outboundOptions),
    ...(config.forwardProxy === undefined ? {} : { forwardProxy: config.forwardProxy.listen }),
    dns: { servers: config.dns.servers, hostsFile: config.dns.hostsFile === 'on', refreshMs: config.dns.refresh },
    workers: config.workers,
    admin: admin?.listen ?? false,
    ...(health === undefined ? {} : { health }),
    probes: config.probes.map(({ headers, ...probe }) => ({
      ...probe,
      headers: Object.fromEntries(headers.map(({ name, value }) => [name, value])),
    })),
    streams: config.streams === 'on',
    limits: {
      maxConnections: limits.maxConnections,
      maxConnectionsPerCaller: limits.maxConnectionsPerCaller,
      ...(limits.maxMemory === undefined ? {} : { maxMemory: limits.maxMemory }),
      handshakeTimeoutMs: limits.handshakeTimeout,
      failedHandshakesPerSecond: limits.failedHandshakes,
      connectTimeoutMs: limits.connectTimeout,
      idleTimeoutMs: limits.idleTimeout,
      ...(limits.maxLifetime === undefined ? {} : { maxLifetimeMs: limits.maxLifetime }),
      drainMs: limits.drain,
      linkGraceMs: limits.linkGrace,
      http2: limits.http2,
      http: { requestTimeoutMs: limits.requestTimeout },
    },
    revocation: revocationOptions(config),
    accessLog: config.accessLog,
    tracing: config.tracing,
  };
}

function revocationOptions({ revocation: { file, keep, onStaleCrl } }: SidecarConfig): RevocationOptions {
  return { ...(file === undefined ? {} : { file }), ...(keep === undefined ? {} : { keep }), onStaleCrl };
}

type Outbound = SidecarConfig['outbound'][number] & { readonly name: string };

function outboundOptions({ ejection, ...rest }: Outbound): OutboundOptions {
  if (ejection === 'off') return rest;
  const { failures, time, share } = ejection;
  return { ...rest, ejection: { failures, timeMs: time, share } };
}

function identityOptions({ identity, service }: SidecarConfig, token: string | undefined): IdentityOptions {
  switch (identity.source) {
    case 'manager': {
      if (service === undefined) {
        throw new SidelockError('SL-CFG-003', 'service is missing', {
          why: 'the manager gives out identities by name',
          fix: 'give --service NAME, or --identity DIR alone for certificates that somebody else rotates',
        });
      }
      const { tokenFile } = identity;
      return {
        source: 'manager',
        service,
        directory: identity.directory ?? join(IDENTITY_HOME, service),
        token: async () => token ?? (tokenFile === undefined ? undefined : await readToken(tokenFile)),
        ...(identity.address === undefined ? {} : { address: identity.address }),
        ...(identity.keyType === undefined ? {} : { keyType: identity.keyType }),
        ...(identity.renewBefore === undefined ? {} : { renewBeforeMs: identity.renewBefore }),
      };
    }
    case 'kubernetes': {
      if (service === undefined) {
        throw new SidelockError('SL-CFG-003', 'service is missing', {
          why: 'the manager compares it with the ServiceAccount of the pod',
          fix: 'set MTLS_SERVICE to the name of the ServiceAccount',
        });
      }
      const { source, address, roots, tokenFile } = identity;
      return {
        source,
        service,
        address,
        roots,
        directory: identity.directory ?? join(IDENTITY_HOME, service),
        token: async () => (await readToken(tokenFile)) ?? missingToken(tokenFile),
        ...(identity.keyType === undefined ? {} : { keyType: identity.keyType }),
        ...(identity.renewBefore === undefined ? {} : { renewBeforeMs: identity.renewBefore }),
      };
    }
    case 'files': {
      const { directory, certificate, key, ca, passphraseFile } = identity;
      const names = certificate !== undefined || key !== undefined || ca !== undefined;
      return {
        source: 'files',
        directory,
        ...(names ? { files: { cert: certificate ?? 'cert.pem', key: key ?? 'key.pem', ca: ca ?? 'ca.pem' } } : {}),
        ...(passphraseFile === undefined ? {} : { passphraseFile }),
      };
    }
    case 'bundle': {
      const { source, file, ca, passphraseFile } = identity;
      return { source, file, ca, ...(passphraseFile === undefined ? {} : { passphraseFile }) };
    }
  }
}

/** A token may be put there later: a missing file is no token yet. */
async function readToken(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim() || undefined;
  } catch (cause) {
    const code = nodeCode(cause);
    if (code === 'ENOENT') return undefined;
    throw new SidelockError('SL-FS-001', `cannot read the token ${path}`, { why: code, cause });
  }
}

function missingToken(path: string): never {
  throw new SidelockError('SL-FS-001', `there is no ServiceAccount token in ${path}`, {
    fix: 'mount a projected volume with a serviceAccountToken, as sidelock inject does',
  });
}

/** Each listener needs a name of its own in logs and metrics. */
function named<T extends { readonly name?: string | undefined }>(all: readonly T[], nameOf: (one: T) => string) {
  const taken = new Map<string, number>();
  return all.map((one): T & { readonly name: string } => {
    const wanted = one.name ?? nameOf(one);
    const count = (taken.get(wanted) ?? 0) + 1;
    taken.set(wanted, count);
    return { ...one, name: count === 1 ? wanted : `${wanted}-${count}` };
  });
}
