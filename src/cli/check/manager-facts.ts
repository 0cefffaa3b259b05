import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { createManagerClient } from '../../api/client.ts';
import { SECOND, systemClock } from '../../base/clock.ts';
import { isSidelockError, nodeCode, type SidelockError } from '../../base/errors.ts';
import type { ManagerConfig } from '../../config/manager.ts';
import { fetchAdmin } from '../admin.ts';
import type { Context } from '../command.ts';
import type { ManagerFlags } from '../manager-options.ts';
import { withManager } from '../with-manager.ts';
import type { AuthorityFacts } from './authority.ts';
import type { CertificateFacts } from './certificates.ts';
import type { ManagerFacts, Reached } from './manager.ts';
import type { StorageFacts } from './storage.ts';

interface Wanted {
  readonly config: ManagerConfig;
  readonly flags: ManagerFlags;
  readonly storage: StorageFacts;
  readonly expiryThresholdMs: number | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

type Asked =
  | { readonly fault: SidelockError }
  | {
      readonly fault: undefined;
      readonly manager: ManagerFacts;
      readonly authority: AuthorityFacts;
      readonly certificates: CertificateFacts;
    };

const PATIENCE_MS = 3 * SECOND;

/** What the manager of a storage knows; one is started where none runs, as for every command. */
export async function managerFacts(context: Context, wanted: Wanted): Promise<Asked> {
  const { config, flags, storage, expiryThresholdMs, now } = wanted;
  try {
    const known = await withManager(context, flags, {
      async work(client) {
        const [status, trust] = [await client.status(), await client.trustStatus()];
        const validation = await client.validate();
        const [{ certificates }, { alerts }] = [await client.listCertificates(), await client.dashboard()];
        return { status, trust, validation, certificates, alerts: alerts.active };
      },
    });
    const { status, trust, validation, certificates, alerts } = known;
    const running = status.startedAt < now;
    const [address, metrics, receivers] = await Promise.all([
      running ? reachApi(status.address, status.rootSha256) : unasked('API', status.address),
      running ? reachMetrics(status.health) : unasked('metrics', status.health),
      running ? reachReceivers(config) : [],
    ]);
    return {
      fault: undefined,
      manager: { storage: storage.path, running, address, metrics, receivers, alerts },
      authority: { status, trust, passphrase: await isEncrypted(storage), now },
      certificates: {
        ...{ certificates, validation, bundle: trust.bundleSha256, expiryThresholdMs, now },
        upMs: running ? now - status.startedAt : 0,
      },
    };
  } catch (error) {
    if (!isSidelockError(error)) throw error;
    return { fault: error };
  }
}

function unasked(what: string, where: string): Reached {
  return { what, where, why: undefined };
}

async function reachApi(address: string, root: string): Promise<Reached> {
  const reached = { what: 'API', where: address };
  try {
    const client = createManagerClient({ address, clock: systemClock, timeoutMs: PATIENCE_MS });
    const { rootSha256 } = await client.trust();
    if (rootSha256.includes(root)) return { ...reached, why: undefined };
    return { ...reached, why: 'another manager answers there: its roots are not ours' };
  } catch (error) {
    if (!isSidelockError(error)) throw error;
    return { ...reached, why: error.why ?? error.message };
  }
}

async function reachMetrics(address: string): Promise<Reached> {
  const reached = { what: 'metrics', where: address };
  try {
    const { status } = await fetchAdmin(address, '/metrics');
    return { ...reached, why: status === 200 ? undefined : `it answered ${status}` };
  } catch (error) {
    if (!isSidelockError(error)) throw error;
    return { ...reached, why: error.why ?? error.message };
  }
}

/** A connection alone: an alert that is none would wake somebody. */
function reachReceivers({ monitoring: { webhook, alertmanager, mail } }: ManagerConfig): Promise<Reached[]> {
  const places: Array<{ what: string; host: string; port: number }> = [];
  for (const [what, receiver] of Object.entries({ webhook, alertmanager })) {
    if (receiver === undefined || receiver.level === 'off') continue;
    const { hostname, port, protocol } = new URL(receiver.url);
    places.push({
      what,
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port || (protocol === 'https:' ? 443 : 80)),
    });
  }
  if (mail !== undefined && mail.level !== 'off') places.push({ what: 'mail', ...mail.server });
  return Promise.all(
    places.map(async ({ what, host, port }) => ({
      what,
      where: `${host}:${port}`,
      why: await connectFault(host, port),
    })),
  );
}

function connectFault(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: PATIENCE_MS });
    const end = (why: string | undefined) => {
      socket.destroy();
      resolve(why);
    };
    socket.once('connect', () => end(undefined));
    socket.once('timeout', () => end(`no answer within ${PATIENCE_MS / SECOND} s`));
    socket.once('error', (error) => end(`the connection failed (${nodeCode(error) ?? 'unknown'})`));
  });
}

async function isEncrypted({ keys }: StorageFacts): Promise<boolean> {
  const roots = keys.filter(({ path }) => path.endsWith('.key'));
  const heads = await Promise.all(roots.map(async ({ path }) => (await readFile(path, 'latin1')).slice(0, 64)));
  return heads.length > 0 && heads.every((head) => head.includes('BEGIN ENCRYPTED'));
}
