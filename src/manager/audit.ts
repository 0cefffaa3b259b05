import { createHash } from 'node:crypto';
import { truncate } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { nodeCode } from '../base/errors.ts';
import { type Logger, scrub } from '../base/log.ts';
import { appendDurable, removeDurable, renameDurable } from '../store/files.ts';
import { KEY_MODE } from '../store/layout.ts';
import { auditPieces, pieceFrom } from './audit-pieces.ts';
import {
  type AuditHead,
  type AuditPiece,
  type AuditVerdict,
  droppedUpTo,
  GENESIS,
  verifyAudit,
} from './audit-verify.ts';
import type { ManagerMetrics } from './metrics.ts';

type AuditAction =
  | 'ca_created'
  | 'ca_imported'
  | 'ca_root_offline'
  | 'ca_root_online'
  | 'certificate_issued'
  | 'certificate_renewed'
  | 'certificate_repeated'
  | 'certificate_refused'
  | 'certificate_revoked'
  | 'csr_names_ignored'
  | 'leaf_reused'
  | 'token_created'
  | 'token_revoked'
  | 'token_used'
  | 'token_refused'
  | 'ca_passphrase_changed'
  | 'trust_staged'
  | 'trust_unstaged'
  | 'trust_activated'
  | 'trust_retired'
  | 'trust_compromised'
  | 'backup_started'
  | 'audit_restarted'
  | 'audit_dropped';

export interface AuditEvent {
  readonly action: AuditAction;
  /** Who asked: `operator`, `token:ID`, a SPIFFE id, or `manager`. */
  readonly actor: string;
  /** Address it was asked from. */
  readonly remote?: string | undefined;
  readonly service?: string | undefined;
  readonly serial?: string | undefined;
  readonly result: 'ok' | 'refused' | 'failed';
  /** A code or a sentence. */
  readonly why?: string | undefined;
}

export interface AuditLog {
  /** Resolves when the line is on disk. @throws SidelockError SL-FS-003; nothing half-written stays. */
  append(event: AuditEvent): Promise<void>;
  /** Sequence number and hash of the last line; kept elsewhere it proves that no line was cut off. */
  head(): AuditHead;
  /** What it says was revoked, when it was opened, in good lines before damage too: serial to when and why. */
  readonly revoked: ReadonlyMap<string, { readonly at: number; readonly why: string }>;
  [Symbol.asyncDispose](): Promise<void>;
}

interface AuditOptions {
  /** Of its first file; see {@link auditPieces}. */
  readonly path: string;
  /** Of the oldest entries those go that are not among the newest of so many bytes; none unless given. */
  readonly keptBytes?: number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ManagerMetrics;
}

/** What is dropped at once, as a part of what is kept. */
const PART = 1 / 16;

interface Waiting {
  readonly event: AuditEvent;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The log of every certificate operation: JSON lines, each with the hash of the one before.
 * A line that a crash cut short is taken off; a damaged log is set aside under another name and said so in the new one.
 * With `keptBytes` it goes on in further files, of which the oldest are dropped; each line is in our log too then.
 */
export async function openAuditLog({ path, keptBytes, clock, log, metrics }: AuditOptions): Promise<AuditLog> {
  const revoked = new Map<string, { readonly at: number; readonly why: string }>();
  const found = await verifyAudit(path, undefined, ({ action, serial, why, time }) => {
    if (action === 'certificate_revoked' && typeof serial === 'string') {
      revoked.set(serial, { at: Date.parse(String(time)), why: String(why) });
    }
  });
  let head = found.ok ? found.head : GENESIS;
  let dropped = found.ok ? found.dropped : 0;
  const aside = found.ok ? undefined : await setAside(path, found, clock, log);
  const pieces = found.ok ? [...found.pieces] : [];
  const newest = pieces.at(-1);
  if (newest !== undefined) await dropTornLine(newest);
  const waiting: Waiting[] = [];
  let writing: Promise<void> | undefined;
  let mayDrop = true;

  const write = async (events: readonly AuditEvent[]) => {
    const { text, head: next } = chain(events, head, clock.now());
    let piece = pieces.at(-1) ?? { path, bytes: 0, head };
    if (keptBytes !== undefined && piece.bytes > 0 && piece.bytes >= keptBytes * PART) {
      piece = { path: pieceFrom(path, head.seq + 1), bytes: 0, head };
      mayDrop = true;
    }
    await appendDurable(piece.path, text, KEY_MODE);
    if (piece === pieces.at(-1)) pieces.pop();
    pieces.push({ path: piece.path, bytes: piece.bytes + Buffer.byteLength(text), head: next });
    head = next;
    metrics.auditEntries.value += events.length;
    if (keptBytes === undefined) return;
    for (const line of text.trimEnd().split('\n')) log.info({ event: 'audit', line }, 'entry of the audit log');
  };

  /** The notes come first: without them the rest would look cut. One for each file, as a crash may leave some. */
  const drop = async (bound: number) => {
    mayDrop = false;
    let newer = pieces.reduce((sum, { bytes }) => sum + bytes, 0);
    const over = pieces.slice(0, -1).filter(({ bytes }) => {
      newer -= bytes;
      return newer >= bound;
    });
    const last = over.at(-1)?.head;
    if (last === undefined) return;
    const count = last.seq - dropped;
    const note = { action: 'audit_dropped', actor: 'manager', result: 'ok' } as const;
    await write(over.map((piece) => ({ ...note, why: droppedUpTo(piece.head) })));
    await removeDurable(over.map((piece) => piece.path));
    pieces.splice(0, over.length);
    dropped = last.seq;
    metrics.auditDropped.value += count;
    log.warn(
      { event: 'audit_dropped', count, ...last },
      `${count} of the oldest entries of the audit log are dropped: the newest of ${bound} bytes are kept`,
    );
  };

  const writeWaiting = async () => {
    while (waiting.length > 0) {
      const batch = waiting.splice(0);
      try {
        await write(batch.map(({ event }) => event));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      if (keptBytes === undefined || !mayDrop) continue;
      await drop(keptBytes).catch((err: unknown) => {
        log.error({ event: 'audit_not_dropped', err }, 'the oldest entries of the audit log could not be dropped');
      });
    }
    writing = undefined;
  };

  const audit: AuditLog = {
    append(event) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      waiting.push({ event, resolve, reject });
      writing ??= writeWaiting();
      return promise;
    },
    head: () => head,
    revoked,
    async [Symbol.asyncDispose]() {
      await writing;
      log.info({ event: 'audit_head', ...head }, 'audit log closed');
    },
  };
  if (aside !== undefined) {
    await audit.append({ action: 'audit_restarted', actor: 'manager', result: 'failed', why: aside });
  }
  return audit;
}

/** Lines for `events`, each bound to the one before by its hash. */
function chain(events: readonly AuditEvent[], from: AuditHead, now: number): { text: string; head: AuditHead } {
  let head = from;
  let text = '';
  for (const { action, actor, remote, service, serial, result, why } of events) {
    const body = {
      seq: head.seq + 1,
      time: new Date(now).toISOString(),
      actor,
      remote,
      action,
      service,
      serial,
      result,
      why,
      prev: head.hash,
    };
    // As the log of the manager does with its copy, so that the hash is true of both.
    const open = scrub(JSON.stringify(body)).slice(0, -1);
    const hash = createHash('sha256').update(`${open}}`).digest('hex');
    text += `${open},"hash":"${hash}"}\n`;
    head = { seq: body.seq, hash };
  }
  return { text, head };
}

/** Takes off a last line that has no end: its operation was never answered. */
async function dropTornLine({ path, bytes }: AuditPiece): Promise<void> {
  try {
    await truncate(path, bytes);
  } catch (error) {
    if (nodeCode(error) !== 'ENOENT') throw error;
  }
}

async function setAside(path: string, found: AuditVerdict, clock: Clock, log: Logger): Promise<string> {
  const suffix = `.damaged-${clock.now()}`;
  const pieces = await auditPieces(path);
  for (const piece of pieces) await renameDurable(piece, `${piece}${suffix}`);
  const aside = pieces.map((piece) => `${piece}${suffix}`).join(', ');
  const why = `line ${found.line} of the old log: ${found.why}; it is kept as ${aside}`;
  log.error({ event: 'audit_damaged', file: aside, line: found.line }, `the audit log is damaged: ${why}`);
  return why;
}
