import { EventEmitter, once } from 'node:events';
import { type Clock, MINUTE, SECOND } from '../base/clock.ts';
import { isAbort, isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { PeerPurpose, RefusalReason } from '../pki/peer-reasons.ts';
import type { Inventory } from './inventory.ts';
import type { ManagerMetrics } from './metrics.ts';
import type { ProvenLeaf } from './renewal-proof.ts';

interface Report {
  readonly serial: string;
  readonly fingerprint256: string;
  readonly role: PeerPurpose;
  readonly reason: RefusalReason;
  /** By the clock of the reporter, ms since the epoch. */
  readonly at: number;
}

interface Notice extends Omit<Report, 'fingerprint256'> {
  /** Later ones are higher, across restarts too. */
  readonly seq: number;
  /** SPIFFE id of the reporter. */
  readonly by: string;
}

/** DER as the TLS connection showed it, leaf first; empty when nothing. */
type Chain = readonly Buffer[];

/**
 * What refused clients are told: TLS 1.3 has no word for it that a client hears, so the one who refused says it here, and
 * only who holds the refused certificate may read it.
 */
export interface Notices {
  /** Keeps what the holders should hear. @throws SL-API-002, SL-CERT-001 by whom nothing is taken */
  report(reporter: Chain, refused: readonly Report[]): void;
  /** Where notices for the holder of this certificate are; undefined when the chain proves nothing. */
  boxOf(holder: Chain): string | undefined;
  /** Those above `after`, oldest first. */
  read(box: string, after: number): Notice[];
  /** Resolves with the next notice in the box, or when the signal aborts. */
  next(box: string, signal: AbortSignal): Promise<void>;
}

interface NoticesOptions {
  readonly inventory: Inventory;
  /** Who shows a chain; a revoked leaf only where it is `reading`. @throws SL-API-002, SL-CERT-001 */
  readonly prove: (chain: Chain, use: 'reporting' | 'reading') => ProvenLeaf;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ManagerMetrics;
}

const MAX_BOXES = 1_024;
/** For one certificate, from all reporters together, within `WINDOW`. */
const MAX_IN_BOX = 8;
/** The same refusal is told again after this long. */
const WINDOW = 30 * SECOND;
const KEPT = 10 * MINUTE;

/** In memory only: a refusal that matters happens again. */
export function createNotices({ inventory, prove, clock, log, metrics }: NoticesOptions): Notices {
  const boxes = new Map<string, Array<Notice & { readonly heard: number }>>();
  const news = new EventEmitter().setMaxListeners(0);
  let last = clock.now();

  const keep = (by: string, { fingerprint256, ...report }: Report) => {
    if (inventory.get(report.serial)?.fingerprint256 !== fingerprint256) return 'unknown';
    const heard = clock.now();
    const box = boxes.get(fingerprint256)?.filter((notice) => heard - notice.heard < KEPT) ?? [];
    const same = box.findIndex(
      (notice) => notice.by === by && notice.role === report.role && notice.reason === report.reason,
    );
    const replaced = box[same === -1 && box.length >= MAX_IN_BOX ? 0 : same];
    if (replaced !== undefined) {
      if (heard - replaced.heard < WINDOW) return same === -1 ? 'full' : 'repeated';
      box.splice(box.indexOf(replaced), 1);
    }
    box.push({ seq: ++last, by, ...report, heard });
    boxes.delete(fingerprint256);
    boxes.set(fingerprint256, box);
    const [oldest] = boxes.keys();
    if (boxes.size > MAX_BOXES && oldest !== undefined) boxes.delete(oldest);
    news.emit(fingerprint256);
    return 'kept';
  };

  return {
    report(reporter, refused) {
      const by = prove(reporter, 'reporting').spiffeId.uri;
      for (const report of refused) {
        const result = keep(by, report);
        metrics.notice(result).value++;
        if (result !== 'kept') continue;
        const { serial, role, reason } = report;
        log.info({ event: 'refusal_reported', by, serial, role, reason }, `${by} refused serial ${serial}: ${reason}`);
      }
    },
    boxOf(holder) {
      try {
        return prove(holder, 'reading').leaf.fingerprint256;
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        return undefined;
      }
    },
    read(box, after) {
      const now = clock.now();
      const fresh = boxes.get(box)?.filter(({ seq, heard }) => seq > after && now - heard < KEPT) ?? [];
      return fresh.map(({ heard: _, ...notice }) => notice);
    },
    async next(box, signal) {
      try {
        await once(news, box, { signal });
      } catch (error) {
        if (!isAbort(error)) throw error;
      }
    },
  };
}
