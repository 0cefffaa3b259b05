import { statSync } from 'node:fs';
import { url as inspectorUrl } from 'node:inspector';
import { SidelockError } from '../base/errors.ts';

interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly execArgv: readonly string[];
  /** Address of an open inspector. */
  readonly inspector: string | undefined;
  /**
   * True for what faces the network for long. Only there NODE_EXTRA_CA_CERTS is refused: no connection of ours uses
   * Node's own roots, and machines behind an inspecting proxy have it set for everything else.
   */
  readonly lasting: boolean;
}

export function surroundings(lasting: boolean): Surroundings {
  return { env: process.env, execArgv: process.execArgv, inspector: inspectorUrl(), lasting };
}

/**
 * Refuses what would switch off a protection or write keys and traffic to a file, and names it.
 * @throws SL-ENV-001
 */
export function checkSurroundings({ env, execArgv, inspector, lasting }: Surroundings): void {
  for (const [where, text] of [
    ['NODE_OPTIONS', env['NODE_OPTIONS'] ?? ''],
    ['the command line of node', execArgv.join(' ')],
  ] as const) {
    const flag = text.split(/\s+/).find((word) => UNSAFE_FLAG.test(word.replaceAll('_', '-')));
    if (flag !== undefined) throw unsafe(`${flag} in ${where}`, 'that flag takes a protection away', `remove ${flag}`);
  }
  for (const [name, why] of UNSAFE_VARIABLES) {
    if (name === 'NODE_EXTRA_CA_CERTS' && !lasting) continue;
    if (env[name] !== undefined && env[name] !== '') throw unsafe(name, why, `unset ${name}`);
  }
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    const name = 'NODE_TLS_REJECT_UNAUTHORIZED';
    throw unsafe(`${name}=0`, 'it makes Node accept every certificate', `unset ${name}`);
  }
  const config = env['OPENSSL_CONF'];
  if (config !== undefined && config !== '' && !ownFile(config)) {
    throw unsafe('OPENSSL_CONF', `${config} belongs to another user or others may write to it`, 'unset OPENSSL_CONF');
  }
  if (inspector !== undefined) {
    throw unsafe(
      'an open inspector',
      `any process of this machine can read our keys at ${inspector}`,
      'start without it',
    );
  }
}

const UNSAFE_FLAG =
  /^"?--(?:insecure-http-parser|tls-keylog|inspect|tls-min-v1\.[01]|openssl-legacy-provider|security-revert|enable-fips=0)/;

const UNSAFE_VARIABLES: ReadonlyArray<readonly [string, string]> = [
  ['NODE_EXTRA_CA_CERTS', 'it adds authorities that the trust bundle does not have'],
  ['SSLKEYLOGFILE', 'it asks for the keys of every connection to be written to a file'],
  ['NODE_DEBUG', 'it writes what passes through the process to standard error'],
  ['NODE_V8_COVERAGE', 'it writes what the process did to files'],
];

function unsafe(what: string, why: string, fix: string): SidelockError {
  return new SidelockError('SL-ENV-001', `will not start with ${what} set`, { why, fix });
}

function ownFile(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return true;
  const owners = [0, process.geteuid?.() ?? 0];
  return owners.includes(stat.uid) && (stat.mode & 0o022) === 0;
}

/** The first version of Node with the fixes that the proxy relies on. */
const FIXED: readonly [number, number, number] = [26, 13, 1];

/** A sentence when this Node lacks fixes, undefined when it has them. */
export function nodeWarning(version: string): string | undefined {
  const parts = version.split('.').map(Number);
  const i = FIXED.findIndex((part, index) => part !== parts[index]);
  if (i === -1 || (parts[i] ?? 0) > (FIXED[i] ?? 0)) return undefined;
  return `Node ${version} lacks security fixes: use ${FIXED.join('.')} or newer`;
}
