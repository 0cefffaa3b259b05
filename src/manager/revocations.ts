import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { type Clock, DAY, MINUTE, SECOND } from '../base/clock.ts';
import { isAbort, SidelockError } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import type { Logger } from '../base/log.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { REVOCATION_REASONS, type RevocationReason } from '../pki/crl.ts';
import { createCrl } from '../pki/crl-build.ts';
import { type CrlSet, crlSet } from '../pki/crl-set.ts';
import { keyIdOfSigner, type Signer } from '../pki/issue.ts';
import { writeFileDurable } from '../store/files.ts';
import { CERT_MODE, KEY_MODE } from '../store/layout.ts';
import type { AuditLog } from './audit.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';
import { readJsonFile } from './json-file.ts';

export interface RevocationRequest {
  /** `service` or `namespace/service`: all its certificates that could still be used. */
  readonly service?: string | undefined;
  /** Hex, as `sidelock show` prints it. */
  readonly serial?: string | undefined;
  readonly reason: RevocationReason;
}

export interface Revocations {
  /** The certificates that `revoke` would end. @throws SL-STORE-001 when there are none */
  affected(request: Omit<RevocationRequest, 'reason'>): InventoryEntry[];
  /** Resolves when the revocation is on disk and in the list; what was revoked before is left as it was. */
  revoke(request: RevocationRequest): Promise<{ readonly revoked: InventoryEntry[]; readonly crlNumber: number }>;
  /** When and why, of a certificate that was revoked. */
  get(serial: string): { readonly reason: RevocationReason; readonly at: number } | undefined;
  /** One list for each signer, all of one number. */
  crl(): CrlSet;
  /** The lists, once their number is not `after`; or as they are when the signal aborts. */
  newerThan(after: number, signal: AbortSignal): Promise<CrlSet>;
  /** New lists, because others sign now. */
  renew(): Promise<void>;
  /** Resolves when the signal has aborted and nothing is written any more. */
  readonly ended: Promise<void>;
}

interface RevocationsOptions {
  readonly stateDirectory: string;
  /** The lists as PEM, for sidecars that live on files. */
  readonly published: string;
  /** Whose certificates count now; each gets a list. */
  readonly signers: () => readonly Signer[];
  readonly inventory: Inventory;
  readonly audit: AuditLog;
  /** How long a leaf may be used after its end, ms. */
  readonly graceMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The file, written as a whole. One that is damaged stops the start: revoked certificates must not come back. */
interface State {
  readonly number: number;
  readonly revoked: readonly Revoked[];
}

/** `issuer` is the key identifier of its signer; one from before there was a second root has none, and is in every list. */
type Revoked = readonly [serial: string, reason: RevocationReason, at: number, until: number, issuer?: string];

const FILE = 'revocations.json';
/** Half a million revocations; the lists have their own limit (`MAX_CRL`) well before. */
const MAX_FILE = 64 << 20;
const VALID_MS = 7 * DAY;
const REFRESH_MS = DAY;

/**
 * What was revoked, and the list that says so to sidecars. Each list has a higher number than every one before, also
 * across restarts: the number is on disk before the list is shown.
 * @throws SL-STORE-003 when the file is damaged
 */
export async function openRevocations(options: RevocationsOptions): Promise<Revocations> {
  const { stateDirectory, published, signers, inventory, audit, graceMs, clock, log, signal } = options;
  const path = join(stateDirectory, FILE);
  const inTurn = createTurns();
  const news = new EventEmitter().setMaxListeners(0);
  let state: State = (await readJsonFile<State>(path, MAX_FILE)) ?? { number: 0, revoked: [] };
  let bySerial = index(state);

  const make = async (revoked: State['revoked']): Promise<CrlSet> => {
    const now = clock.now();
    // A list names what is out of date for one more round, as RFC 5280 3.3 asks.
    const kept = revoked.filter(([, , , until]) => until + graceMs + VALID_MS > now);
    // By the clock, so that a manager that was restored from a backup is not behind what its sidecars have seen.
    const number = Math.max(state.number + 1, Math.floor(now / SECOND));
    const next: State = { number, revoked: kept };
    const lists = signers().map((signer) => {
      const keyId = keyIdOfSigner(signer).toString('hex');
      const own = kept.filter(([, , , , issuer = keyId]) => issuer === keyId);
      const entries = index({ revoked: own });
      return createCrl({ signer, number: next.number, now, nextUpdate: now + VALID_MS, entries });
    });
    const made = crlSet(await Promise.all(lists));
    await writeFileDurable(path, JSON.stringify(next), KEY_MODE);
    // In force all the same: whoever reads the file keeps the list before, which is out of date in a week.
    await writeFileDurable(published, made.pem, CERT_MODE).catch((err: unknown) =>
      log.error(
        { event: 'crl_not_published', err, path: published },
        'the revocation list could not be written as a file',
      ),
    );
    state = next;
    bySerial = index(next);
    return made;
  };
  /** What the journal has and the file lacks: a crash came between the two, or the file is an older copy. */
  const lost = [...audit.revoked].flatMap(([serial, { at, why }]): Revoked[] => {
    const entry = bySerial.has(serial) ? undefined : inventory.get(serial);
    if (entry === undefined || !isReason(why) || entry.notAfter + graceMs <= clock.now()) return [];
    return [[serial, why, at, entry.notAfter, issuerOf(entry.pem)]];
  });
  if (lost.length > 0) {
    log.error(
      { event: 'revocations_recovered', count: lost.length },
      `${lost.length} revocations are in the audit log and were not in ${FILE}: they are in force again`,
    );
  }
  let crl = await make([...state.revoked, ...lost]);
  const publish = async (revoked: State['revoked']): Promise<CrlSet> => {
    crl = await make(revoked);
    news.emit('list');
    return crl;
  };
  const ended = refresh();

  async function refresh(): Promise<void> {
    while (!signal.aborted) {
      try {
        await clock.sleep(MINUTE, signal);
        if (Math.abs(clock.now() - crl.thisUpdate) >= REFRESH_MS) await inTurn('crl', () => publish(state.revoked));
      } catch (error) {
        if (!isAbort(error)) log.error({ event: 'crl_failed', err: error }, 'no new revocation list could be made');
      }
    }
  }

  const affected = ({ service, serial }: Omit<RevocationRequest, 'reason'>): InventoryEntry[] => {
    const found = inventory.all().filter((entry) => {
      if (serial !== undefined) return entry.serial === normal(serial);
      return nameOf(entry) === service && entry.notAfter + graceMs > clock.now();
    });
    if (found.length > 0) return found;
    throw new SidelockError('SL-STORE-001', `there is no certificate ${serial ?? `of ${service}`} to revoke`, {
      why: serial === undefined ? 'none was issued that could still be used' : 'this manager did not issue it',
      fix: 'sidelock list',
    });
  };

  return {
    affected,
    revoke(request) {
      return inTurn('crl', async () => {
        const { reason } = request;
        const fresh = affected(request).filter(({ serial }) => !bySerial.has(serial));
        if (fresh.length === 0) return { revoked: [], crlNumber: crl.number };
        // The journal first: after a crash there is a line too many, never a revocation without one.
        for (const { service, serial } of fresh) {
          await audit.append({
            action: 'certificate_revoked',
            actor: 'operator',
            service,
            serial,
            result: 'ok',
            why: reason,
          });
        }
        const at = Math.floor(clock.now() / 1000) * 1000;
        const added = fresh.map(({ serial, notAfter, pem }): Revoked => [serial, reason, at, notAfter, issuerOf(pem)]);
        const { number } = await publish([...state.revoked, ...added]);
        for (const { service, serial } of fresh) {
          log.warn(
            { event: 'certificate_revoked', service, serial, reason, crlNumber: number },
            `${service} is revoked`,
          );
        }
        return { revoked: fresh, crlNumber: number };
      });
    },
    ended,
    get: (serial) => bySerial.get(serial),
    crl: () => crl,
    async newerThan(after, waiting) {
      try {
        // Another number than ours, even a higher one, is of another storage: it is answered at once.
        while (crl.number === after) await once(news, 'list', { signal: waiting });
      } catch (error) {
        if (!isAbort(error)) throw error;
      }
      return crl;
    },
    async renew() {
      await inTurn('crl', () => publish(state.revoked));
    },
  };
}

function isReason(text: string): text is RevocationReason {
  return Object.hasOwn(REVOCATION_REASONS, text);
}

/** Key identifier of who signed the first certificate of a chain. */
function issuerOf(pem: string): string {
  return certificatesFromPem(pem, 'the inventory')[0]?.aki ?? '';
}

function index({
  revoked,
}: Pick<State, 'revoked'>): ReadonlyMap<string, { readonly reason: RevocationReason; readonly at: number }> {
  return new Map(revoked.map(([serial, reason, at]) => [serial, { reason, at }]));
}

function nameOf({ service, namespace }: InventoryEntry): string {
  return namespace === 'default' ? service : `${namespace}/${service}`;
}

function normal(serial: string): string {
  return serial.replaceAll(':', '').toLowerCase();
}
