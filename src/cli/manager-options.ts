import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { systemClock, systemRandom } from '../base/clock.ts';
import { nodeCode, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { loadConfig } from '../config/load.ts';
import type { ManagerConfig } from '../config/manager.ts';
import type { Setting } from '../config/setting.ts';
import type { ManagerOptions } from '../manager/options.ts';
import type { Context } from './command.ts';
import { readConfigFile } from './config-file.ts';

/** Flags that name keys of the Manager config. */
export interface ManagerFlags {
  readonly config?: string;
  readonly storage?: string;
  readonly listen?: string;
  readonly address?: string;
  readonly health?: string;
  readonly logLevel?: string;
}

export async function loadManagerConfig({ env }: Context, flags: ManagerFlags): Promise<ManagerConfig> {
  const file = flags.config === undefined ? undefined : await readConfigFile(flags.config);
  const given: ReadonlyArray<readonly [Setting['path'], string | undefined, string]> = [
    [['storage', 'path'], flags.storage, '--storage'],
    [['listen'], flags.listen, '--listen'],
    [['address'], flags.address, '--address'],
    [['health'], flags.health, '--health'],
    [['log', 'level'], flags.logLevel, '--log-level'],
  ];
  const settings = given.flatMap(([path, value, name]): Setting[] =>
    value === undefined ? [] : [{ path, value, origin: { from: 'flag', name } }],
  );
  return loadConfig('Manager', { file, env, flags: settings }).config;
}

interface Surroundings {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly version: string;
  readonly onProgress: (text: string) => void;
  /** Where the API turned out to listen. */
  readonly port: () => number;
}

/** Of the audit log in Secrets: a next leader reads it before it serves, and all of them share the room of the cluster. */
const AUDIT_IN_SECRETS = 32 << 20;

/** The config as the options that the manager takes. */
export function managerOptions(config: ManagerConfig, { port, ...surroundings }: Surroundings): ManagerOptions {
  const { storage, ca, certificates, tokens, trustDomain, listen } = config;
  return {
    storagePath: storage.path,
    ca: {
      name: ca.name,
      keySize: ca.keySize,
      validityYears: ca.validityYears,
      issuer: ca.issuer,
      ...(ca.passphraseFile === undefined ? {} : { passphrase: readSecret(ca.passphraseFile, 'passphrase') }),
    },
    certificates: {
      keyType: certificates.keyType,
      validityMs: certificates.validity,
      rotationThresholdMs: certificates.rotationThreshold,
      allowedSans: certificates.allowedSans,
    },
    tokens: { ttlMs: tokens.ttl, maxTtlMs: tokens.maxTtl },
    ...(config.kubernetes.state === 'secrets' ? { audit: { keptBytes: AUDIT_IN_SECRETS } } : {}),
    trustDomain,
    address: () => config.address ?? reachable(listen.host, port()),
    clock: systemClock,
    random: systemRandom,
    ...surroundings,
  };
}

/** For sidecars of this machine: an address that every interface stands for cannot be dialled from elsewhere. */
function reachable(host: string, port: number): string {
  if (host === '0.0.0.0') return `https://127.0.0.1:${port}`;
  if (host === '::') return `https://[::1]:${port}`;
  return `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** The first line, since editors end a file with a newline that nobody typed. */
export function readSecret(path: string, what: 'passphrase' | 'password'): string {
  try {
    const [line = ''] = readFileSync(path, 'utf8').split('\n');
    if (line !== '') return line;
  } catch (cause) {
    throw new SidelockError('SL-FS-001', `cannot read the ${what} file ${path}`, { why: nodeCode(cause), cause });
  }
  throw new SidelockError(what === 'passphrase' ? 'SL-CA-002' : 'SL-FS-001', `the ${what} file ${path} is empty`);
}
