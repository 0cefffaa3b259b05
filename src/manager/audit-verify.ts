import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { nodeCode } from '../base/errors.ts';

/** The last line of an audit log. */
export interface AuditHead {
  readonly seq: number;
  /** SHA-256, hex. */
  readonly hash: string;
}

export interface AuditVerdict {
  readonly ok: boolean;
  /** Number of the first line that is wrong, counted from 1. */
  readonly line?: number;
  readonly why?: string;
  readonly head: AuditHead;
  /** Length of the good lines. What follows them is a line that a crash cut short. */
  readonly bytes: number;
}

/** Of a log that has no line yet. */
export const GENESIS: AuditHead = { seq: 0, hash: '0'.repeat(64) };
const LINE = /^(\{.*),"hash":"([0-9a-f]{64})"\}$/s;

/**
 * Reads an audit log and checks its hash chain: a flipped, deleted or moved line is found.
 * Lines cut off at the end are found only against a `head` that was kept elsewhere. `onEntry` gets each good one.
 */
export async function verifyAudit(
  path: string,
  expected?: AuditHead,
  onEntry: (entry: Readonly<Record<string, unknown>>) => void = () => {},
): Promise<AuditVerdict> {
  let head = GENESIS;
  let bytes = 0;
  let expectedSeen = expected === undefined || expected.seq === 0;
  for await (const line of completeLines(path)) {
    const next = followingHead(line, head, onEntry);
    if (typeof next === 'string') return { ok: false, line: head.seq + 1, why: next, head, bytes };
    head = next;
    bytes += line.length + 1;
    if (expected?.seq === head.seq) {
      if (expected.hash !== head.hash) {
        return { ok: false, line: head.seq, why: 'it differs from the head that was kept elsewhere', head, bytes };
      }
      expectedSeen = true;
    }
  }
  if (!expectedSeen) {
    const why = `the log ends here, but ${expected?.seq} entries were written`;
    return { ok: false, line: head.seq + 1, why, head, bytes };
  }
  return { ok: true, head, bytes };
}

/** The head after `line`, or what is wrong with it. */
function followingHead(
  line: Buffer,
  head: AuditHead,
  onEntry: (entry: Readonly<Record<string, unknown>>) => void,
): AuditHead | string {
  const match = LINE.exec(line.toString('utf8'));
  const [open, hash] = [match?.[1], match?.[2]];
  if (open === undefined || hash === undefined) return 'it is not an audit entry';
  if (createHash('sha256').update(`${open}}`).digest('hex') !== hash) return 'its content does not match its hash';
  const entry = parseEntry(`${open}}`);
  if (entry === undefined) return 'it is not an audit entry';
  if (entry.prev !== head.hash || entry.seq !== head.seq + 1) return 'the entry before it is missing or was changed';
  onEntry(entry);
  return { seq: head.seq + 1, hash };
}

type Entry = Readonly<Record<string, unknown>> & { readonly seq?: unknown; readonly prev?: unknown };

function parseEntry(text: string): Entry | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Entry) : undefined;
  } catch {
    return undefined;
  }
}

async function* completeLines(path: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of createReadStream(path)) {
      let data = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
      for (let end = data.indexOf(10); end !== -1; end = data.indexOf(10)) {
        yield data.subarray(0, end);
        data = data.subarray(end + 1);
      }
      rest = data;
    }
  } catch (error) {
    if (nodeCode(error) !== 'ENOENT') throw error;
  }
}
