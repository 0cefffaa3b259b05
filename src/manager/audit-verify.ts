import { createHash } from 'node:crypto';
import { auditPieces, completeLines } from './audit-pieces.ts';

/** A line of an audit log. */
export interface AuditHead {
  readonly seq: number;
  /** SHA-256, hex. */
  readonly hash: string;
}

/** One file of a log. */
export interface AuditPiece {
  readonly path: string;
  /** Length of the good lines. What follows them in the last one is a line that a crash cut short. */
  readonly bytes: number;
  /** The last line that is in it, or before it. */
  readonly head: AuditHead;
}

export interface AuditVerdict {
  readonly ok: boolean;
  /** Number of the first line that is wrong, counted from 1 at the oldest that is kept. */
  readonly line?: number;
  readonly why?: string;
  /** The last good line. */
  readonly head: AuditHead;
  /** So many of the oldest entries were dropped, as a later one says. */
  readonly dropped: number;
  /** Oldest first, up to the first that is wrong. */
  readonly pieces: readonly AuditPiece[];
}

/** Of a log that has no line yet. */
export const GENESIS: AuditHead = { seq: 0, hash: '0'.repeat(64) };
const LINE = /^(\{.*),"hash":"([0-9a-f]{64})"\}$/s;

/** What an entry `audit_dropped` says: that all up to this one was taken away. Without it a missing beginning is damage. */
export function droppedUpTo({ seq, hash }: AuditHead): string {
  return `all up to ${seq}:${hash}`;
}

/**
 * Reads an audit log and checks its hash chain: a flipped, deleted or moved line is found. Of a log that is kept within
 * bounds the chain begins behind what was dropped, and an entry of it must say so.
 * Lines cut off at the end are found only against a `head` that was kept elsewhere. `onEntry` gets each good one.
 */
export async function verifyAudit(
  path: string,
  expected?: AuditHead,
  onEntry: (entry: Readonly<Record<string, unknown>>) => void = () => {},
): Promise<AuditVerdict> {
  const pieces: AuditPiece[] = [];
  let line = 0;
  let base = GENESIS;
  let head = GENESIS;
  let isBaseNoted = true;
  const verdict = (wrong?: { readonly line: number; readonly why: string }): AuditVerdict => {
    return { ok: wrong === undefined, ...wrong, head, dropped: base.seq, pieces };
  };
  let isExpectedSeen = expected === undefined || expected.seq === 0;

  for (const piece of await auditPieces(path)) {
    let bytes = 0;
    for await (const text of completeLines(piece)) {
      line += 1;
      const read = readLine(text);
      if (typeof read === 'string') return verdict({ line, why: read });
      const { entry, hash } = read;
      if (line === 1) {
        base = head = beforeFirst(entry);
        isBaseNoted = base.seq === 0;
        if (expected?.seq === base.seq && base.seq > 0) isExpectedSeen = expected.hash === base.hash;
      }
      if (entry.prev !== head.hash || entry.seq !== head.seq + 1)
        return verdict({ line, why: 'the entry before it is missing or was changed' });
      isBaseNoted ||= entry['action'] === 'audit_dropped' && entry['why'] === droppedUpTo(base);
      onEntry(entry);
      head = { seq: head.seq + 1, hash };
      bytes += text.length + 1;
      if (expected?.seq !== head.seq) continue;
      if (expected.hash !== hash) return verdict({ line, why: 'it differs from the head that was kept elsewhere' });
      isExpectedSeen = true;
    }
    pieces.push({ path: piece, bytes, head });
  }
  if (!isBaseNoted) {
    return verdict({
      line: 1,
      why: `the ${base.seq} entries before it are missing, and none says that they were dropped`,
    });
  }
  if (isExpectedSeen || expected === undefined) return verdict();
  if (expected.seq > head.seq) {
    return verdict({ line: line + 1, why: `the log ends here, but ${expected.seq} entries were written` });
  }
  if (expected.seq === base.seq)
    return verdict({ line: 1, why: 'what came before differs from the head that was kept elsewhere' });
  const why = `entry ${expected.seq} was dropped with all up to ${base.seq}, and cannot be compared any more`;
  return verdict({ line: 1, why });
}

type Entry = Readonly<Record<string, unknown>> & { readonly seq?: unknown; readonly prev?: unknown };

/** An entry with its hash, or what is wrong with it. */
function readLine(line: Buffer): { readonly entry: Entry; readonly hash: string } | string {
  const match = LINE.exec(line.toString('utf8'));
  const [open, hash] = [match?.[1], match?.[2]];
  if (open === undefined || hash === undefined) return 'it is not an audit entry';
  if (createHash('sha256').update(`${open}}`).digest('hex') !== hash) return 'its content does not match its hash';
  const entry = parseEntry(`${open}}`);
  return entry === undefined ? 'it is not an audit entry' : { entry, hash };
}

/** What the oldest entry that is kept claims to follow. */
function beforeFirst({ seq, prev }: Entry): AuditHead {
  if (typeof seq !== 'number' || typeof prev !== 'string' || !Number.isSafeInteger(seq) || seq <= 1) return GENESIS;
  return { seq: seq - 1, hash: prev };
}

function parseEntry(text: string): Entry | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Entry) : undefined;
  } catch {
    return undefined;
  }
}
