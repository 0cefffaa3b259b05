import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { nodeCode } from '../base/errors.ts';
import { checkServiceName } from '../pki/names.ts';
import { readGeneration } from '../store/generation.ts';
import { CA_FILE, CERT_FILE, CERT_MODE, KEY_FILE, KEY_MODE, STATE_DIR } from '../store/layout.ts';
import type { CertStore } from '../store/store.ts';
import { auditPieces } from './audit-pieces.ts';
import { Collected, unreadable } from './backup-seal.ts';

/** One file of an archive. Nothing else is in one: no directory, no link. */
export interface Entry {
  /** `state/…` for files of `.sidelock`, `services/NAME/…` for the three of a service. */
  readonly path: string;
  readonly mode: number;
  readonly size: number;
}

/** What was put into an archive, for a comparison: path to mode and SHA-256. */
export type Digests = Map<string, string>;

const SERVICE_FILES = [CERT_FILE, KEY_FILE, CA_FILE] as const;
const MAX_ENTRY_HEADER = 2048;
const READ_SIZE = 64 * 1024;
/** Of one running process: locks and sockets, files half written, a CA half made, the mark of a copy. */
const PASSING = /^(?:lock\..*|mirror|\..*\.tmp|.*\.sock|ca\.new-.*)$/;

/**
 * Every file of a storage, framed, with a closing record. A manager may be at work: each file is one that was whole,
 * the three of a service belong together, and the audit log comes last, so that it knows of all that is in the rest.
 */
export async function* readEntries(storagePath: string, store: CertStore, digests: Digests): AsyncGenerator<Buffer> {
  const state = join(storagePath, STATE_DIR);
  const isAudit = (path: string) => relative(state, path).startsWith('audit');
  for (const path of (await stateFiles(state)).filter((file) => !isAudit(file))) yield* fileEntry(state, path, digests);
  for (const service of await store.list()) {
    const set = await readGeneration(join(storagePath, service), SERVICE_FILES, { confined: true });
    for (const [name, { data }] of set) {
      const entry = {
        path: `services/${service}/${name}`,
        mode: name === KEY_FILE ? KEY_MODE : CERT_MODE,
        size: data.length,
      };
      digests.set(entry.path, digestOf(entry, createHash('sha256').update(data).digest('hex')));
      yield framed(entry);
      yield data;
    }
  }
  await using audit = await openAudit(join(state, 'audit.log'));
  for (const [path, file] of audit.files) yield* openedEntry(state, path, file, digests);
  const aside = (await stateFiles(state)).filter((path) => isAudit(path) && path.includes('.damaged-'));
  for (const path of aside) yield* fileEntry(state, path, digests);
  yield framed({ end: digests.size });
}

/**
 * The files of the audit log, oldest first, all open before the first is read: one that is dropped meanwhile is read
 * still, and each but the last is complete, as a newer one was there before it was opened.
 */
async function openAudit(path: string): Promise<AsyncDisposable & { readonly files: Map<string, FileHandle> }> {
  for (;;) {
    await using opening = new AsyncDisposableStack();
    const files = new Map<string, FileHandle>();
    for (const piece of await auditPieces(path)) {
      const file = await openIfThere(piece);
      // Those before it went too, and a newer entry says so.
      if (file === undefined) files.clear();
      else files.set(piece, opening.use(file));
    }
    // That entry may be in one that began meanwhile.
    if ((await auditPieces(path)).at(-1) !== [...files.keys()].at(-1)) continue;
    const opened = opening.move();
    return { files, [Symbol.asyncDispose]: () => opened.disposeAsync() };
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path);
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function stateFiles(state: string): Promise<string[]> {
  const entries = await readdir(state, { withFileTypes: true, recursive: true });
  const passing = ({ name, parentPath }: Dirent) =>
    [name, ...relative(state, parentPath).split('/')].some((part) => PASSING.test(part));
  return entries
    .filter((entry) => entry.isFile() && !passing(entry))
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort();
}

/** Nothing when it was removed meanwhile. */
async function* fileEntry(state: string, path: string, digests: Digests): AsyncGenerator<Buffer> {
  await using file = await openIfThere(path);
  if (file !== undefined) yield* openedEntry(state, path, file, digests);
}

/** The file as long as it is now. */
async function* openedEntry(state: string, path: string, file: FileHandle, digests: Digests): AsyncGenerator<Buffer> {
  const { size, mode } = await file.stat();
  const entry = { path: `state/${relative(state, path)}`, mode: mode & 0o777, size };
  yield framed(entry);
  const hash = createHash('sha256');
  for (let at = 0; at < size; ) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(READ_SIZE, size - at)), 0, undefined, at);
    if (bytesRead === 0) throw unreadable(`${path} became shorter while it was read`);
    const data = buffer.subarray(0, bytesRead);
    at += bytesRead;
    hash.update(data);
    yield data;
  }
  digests.set(entry.path, digestOf(entry, hash.digest('hex')));
}

function digestOf({ mode }: Pick<Entry, 'mode'>, sha256: string): string {
  return `${mode.toString(8)} ${sha256}`;
}

function framed(header: object): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text]);
}

/** Takes a stream of `readEntries` apart. */
export interface EntrySink {
  begin(entry: Entry): Promise<void>;
  data(data: Buffer): Promise<void>;
  end(): Promise<void>;
}

/**
 * Hands each file of the stream to `sink`; resolves with their number when the closing record was there and right.
 * @throws SidelockError SL-BAK-001 for a path that leads elsewhere, a mode that is none of ours, a missing end.
 */
export async function writeEntries(plain: AsyncIterable<Buffer>, sink: EntrySink): Promise<number> {
  const waiting = new Collected();
  const seen = new Set<string>();
  let open: Entry | undefined;
  let left = 0;
  let end: number | undefined;
  for await (const chunk of plain) {
    waiting.add(chunk);
    for (;;) {
      if (open !== undefined) {
        const part = waiting.take(Math.min(left, waiting.length));
        left -= part.length;
        if (part.length > 0) await sink.data(part);
        if (left > 0) break;
        await sink.end();
        open = undefined;
      }
      const header = takeHeader(waiting);
      if (header === undefined) break;
      if (end !== undefined) throw unreadable('something stands behind its end');
      if (typeof header.end === 'number') {
        end = header.end;
        continue;
      }
      open = checked(header, seen);
      left = open.size;
      await sink.begin(open);
    }
  }
  if (end !== seen.size || open !== undefined || waiting.length > 0) throw unreadable('its closing record is missing');
  return seen.size;
}

function takeHeader(waiting: Collected): { readonly [name: string]: unknown; readonly end?: unknown } | undefined {
  if (waiting.length < 4) return undefined;
  const length = waiting.peek(4).readUInt32BE();
  if (length > MAX_ENTRY_HEADER) throw unreadable('a record of it is no record');
  if (waiting.length < 4 + length) return undefined;
  try {
    return JSON.parse(
      waiting
        .take(4 + length)
        .subarray(4)
        .toString(),
    );
  } catch (cause) {
    throw unreadable('a record of it is no record', cause);
  }
}

const SEGMENT = /^(?!\.{1,2}$)[\w.-]{1,255}$/;

function checked(header: { readonly [name: string]: unknown }, seen: Set<string>): Entry {
  const { path, mode, size } = header;
  if (typeof path !== 'string' || typeof mode !== 'number' || typeof size !== 'number')
    throw unreadable('a record of it lacks a field');
  const [root, ...rest] = path.split('/');
  const known = root === 'state' || (root === 'services' && rest.length === 2);
  if (!known || rest.length === 0 || !rest.every((part) => SEGMENT.test(part)) || seen.has(path)) {
    throw unreadable(`it holds the path ${JSON.stringify(path).slice(0, 200)}, which no backup of ours has`);
  }
  if (root === 'services') {
    checkServiceName(rest[0] ?? '');
    if (!SERVICE_FILES.some((file) => file === rest[1])) throw unreadable(`it holds a file ${rest[1]} of a service`);
  }
  if ((mode !== KEY_MODE && mode !== CERT_MODE) || !Number.isSafeInteger(size) || size < 0) {
    throw unreadable(`it holds ${path} with mode ${mode.toString(8)} and size ${size}`);
  }
  seen.add(path);
  return { path, mode, size };
}
