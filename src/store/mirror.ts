import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type Change, contentChanges, filesBelow, isLocal, observeChanges, stillCounting } from './changes.ts';
import { exists, writeFileDurable } from './files.ts';
import { writeGeneration } from './generation.ts';
import { CA_FILE, CERT_FILE, CERT_MODE, DIRECTORY_MODE, KEY_FILE, KEY_MODE, STATE_DIR } from './layout.ts';

/** All changes of a directory in one order, kept where other machines find them. */
export interface Journal {
  /** What there is. From now on nobody else who opened it before can append. @throws SL-HA-001 */
  open(): Promise<Change[]>;
  /** All of them, or as many of the first as there was time for. @throws SL-HA-001 when another one has opened it */
  append(changes: readonly Change[]): Promise<void>;
  /** Makes room, now and then. @throws SL-HA-001 */
  tidy(): Promise<void>;
}

interface MirrorOptions {
  /** Made what the journal says. One that holds a state of its own is taken into an empty journal. */
  readonly directory: string;
  readonly journal: Journal;
  readonly log: Logger;
  /** Asked before a new state begins where there is none. */
  readonly mayBegin?: () => Promise<void>;
  /** Told once, when something could not be kept. */
  readonly onFailure: (error: unknown) => void;
}

export interface Mirror extends AsyncDisposable {
  /**
   * Resolves when all that was written so far is in the journal. Nothing that follows from a write may leave before.
   * @throws what kept it from it, from then on
   */
  settled(): Promise<void>;
}

/** Says that a directory is one, and in a journal that its beginning is whole. */
const MARK = `${STATE_DIR}/mirror`;
/** How long a write that nobody waits for may wait for others. */
const LINGER_MS = 250;

/**
 * Makes `directory` what the journal says, and from then on puts every durable write of this process in the journal.
 * @throws SL-STORE-003 when directory and journal hold two different states
 */
export async function openMirror({ directory, journal, log, mayBegin, onFailure }: MirrorOptions): Promise<Mirror> {
  const changes = await journal.open();
  await clearMirror(directory);
  const begun = changes.some(({ path }) => path === MARK);
  const own = await contentOf(directory);
  if (begun && own.length > 0) throw twoStates(directory, 'it holds a state that is not the one in the cluster');
  if (!begun && own.length === 0) {
    if (changes.length > 0) throw twoStates(directory, 'what is in the cluster was never whole');
    await mayBegin?.();
  }
  if (begun) {
    await restore(directory, stillCounting(changes));
    log.info({ event: 'state_read', changes: changes.length }, 'the state is read from the cluster');
  } else if (own.length > 0) {
    log.info({ event: 'state_taken_over', directory }, `the state in ${directory} is taken into the cluster`);
  }

  const queue = createQueue(journal, log, onFailure);
  queue.add(own);
  const watching = observeChanges(directory, (change) => queue.add([change]));
  await mkdir(join(directory, STATE_DIR), { recursive: true, mode: DIRECTORY_MODE });
  await writeFileDurable(join(directory, MARK), 'a copy of the state in the cluster\n', KEY_MODE);
  await queue.settled();
  return {
    settled: queue.settled,
    async [Symbol.asyncDispose]() {
      watching[Symbol.dispose]();
      await queue.ended();
      await clearMirror(directory);
    },
  };
}

/** Empties a directory that is a copy: who does not lead keeps no keys. */
export async function clearMirror(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  if (!(await exists(join(directory, MARK)))) return;
  // The mark last: what a crash leaves is cleared by the next one.
  for (const name of await readdir(directory)) {
    if (name !== STATE_DIR) await rm(join(directory, name), { recursive: true, force: true });
  }
  for (const name of await readdir(join(directory, STATE_DIR))) {
    const path = join(STATE_DIR, name);
    if (path !== MARK && !isLocal(path)) await rm(join(directory, path), { recursive: true, force: true });
  }
  await rm(join(directory, MARK));
}

function createQueue(journal: Journal, log: Logger, onFailure: (error: unknown) => void) {
  let waiting: Change[] = [];
  let told = 0;
  let kept = 0;
  let failure: { readonly error: unknown } | undefined;
  let writing: Promise<void> | undefined;
  let tidying: Promise<void> | undefined;
  /** What waits has lingered long enough. */
  let due = false;
  const waiters: Array<{ readonly upTo: number; readonly done: PromiseWithResolvers<void> }> = [];

  const write = async () => {
    try {
      do {
        const batch = waiting;
        waiting = [];
        due = false;
        await journal.append(batch);
        kept += batch.length;
        while ((waiters[0]?.upTo ?? Number.POSITIVE_INFINITY) <= kept) waiters.shift()?.done.resolve();
      } while (waiters.length > 0 || due);
    } catch (error) {
      failure = { error };
      for (const { done } of waiters.splice(0)) done.reject(error);
      onFailure(error);
    }
    writing = undefined;
    if (failure === undefined) tidying ??= tidy();
  };
  const tidy = async () => {
    try {
      await journal.tidy();
    } catch (error) {
      log.warn({ event: 'state_not_tidied', err: error }, 'the state in the cluster is not made smaller');
    }
    tidying = undefined;
  };
  const start = () => {
    if (failure === undefined && waiting.length > 0) writing ??= write();
  };
  const lingering = setTimeout(() => {
    due = waiting.length > 0;
    start();
  }, LINGER_MS).unref();
  const settled = async () => {
    if (failure !== undefined) throw failure.error;
    if (kept === told) return;
    const done = Promise.withResolvers<void>();
    waiters.push({ upTo: told, done });
    start();
    await done.promise;
  };
  return {
    add(changes: readonly Change[]) {
      told += changes.length;
      waiting.push(...changes);
      // What one request writes goes together, and so happens or does not: it asks for it at its end.
      lingering.refresh();
    },
    settled,
    async ended() {
      clearTimeout(lingering);
      await settled().catch(() => {});
      await writing;
      await tidying;
    },
  };
}

/** Without regard for a crash: whoever starts after one does this again. */
async function restore(directory: string, changes: readonly Change[]): Promise<void> {
  const made = new Set<string>();
  const parentOf = async (path: string) => {
    const parent = dirname(path);
    if (made.has(parent)) return;
    made.add(parent);
    await mkdir(parent, { recursive: true, mode: DIRECTORY_MODE });
  };
  await parentOf(join(directory, MARK));
  await writeFile(join(directory, MARK), '', { mode: KEY_MODE });
  for (const change of changes) {
    const path = join(directory, change.path);
    if (change.kind === 'gone') continue;
    await parentOf(path);
    if (change.kind === 'file') await writeFile(path, change.data, { mode: change.mode });
    else if (change.kind === 'append') await appendFile(path, change.data, { mode: change.mode });
    else await writeGeneration(path, change.files);
  }
}

/** What a directory holds that was no mirror before. */
async function contentOf(directory: string): Promise<Change[]> {
  const found: Change[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name === STATE_DIR || entry.name.startsWith('.')) continue;
    const files: Record<string, { data: string; mode: number }> = {};
    for (const name of [CERT_FILE, KEY_FILE, CA_FILE]) {
      const path = join(directory, entry.name, name);
      if (!(await exists(path))) continue;
      files[name] = { data: await readFile(path, 'utf8'), mode: name === KEY_FILE ? KEY_MODE : CERT_MODE };
    }
    if (Object.keys(files).length > 0) found.push({ kind: 'set', path: entry.name, files });
  }
  if (!(await exists(join(directory, STATE_DIR)))) return found;
  for (const name of await filesBelow(join(directory, STATE_DIR))) {
    const path = join(STATE_DIR, name);
    if (isLocal(path) || name.includes('.new-')) continue;
    const { mode } = await stat(join(directory, path));
    const data = await readFile(join(directory, path));
    found.push(...contentChanges(path, data, mode & 0o777));
  }
  return found;
}

function twoStates(directory: string, why: string): SidelockError {
  return new SidelockError('SL-STORE-003', `${directory} cannot be used with the state in the cluster`, {
    why,
    fix: 'Give this manager an empty directory; to begin anew delete the Secrets with label certificate.ai-teddy.com/state.',
    data: { path: directory },
  });
}
