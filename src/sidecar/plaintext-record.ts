import { type PlaintextListenerReport, plaintextAnswer } from '../api/wire-sidecar.ts';
import { type Clock, MINUTE, SECOND } from '../base/clock.ts';
import { isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { readGeneration, writeGeneration } from '../store/generation.ts';
import { MAX_CALLERS } from './plaintext-callers.ts';
import type { PlaintextReport } from './serving.ts';
import { unitePlaintext } from './workers/union.ts';

const FILE = 'plaintext.json';
const MODE = 0o600;

interface RecordOptions {
  /** Where it is kept; it is made if need be. Undefined: what was seen is forgotten with the process. */
  readonly directory: string | undefined;
  readonly look: () => Promise<PlaintextReport>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Who called permissive listeners without TLS, kept over restarts. Disposing it writes it a last time. */
export interface PlaintextRecord extends AsyncDisposable {
  /** With what was seen before this process. Time in which no sidecar ran does not count as watched. */
  report(): Promise<PlaintextReport>;
}

/** A record that cannot be read is none; one that cannot be written is told once. */
export async function keepPlaintextRecord(options: RecordOptions): Promise<PlaintextRecord> {
  const { directory, look, clock, log } = options;
  const before = new Map<string, PlaintextListenerReport>();
  /** Since when each listener is watched in this process: one that became permissive anew begins anew. */
  const began = new Map<string, string>();
  let told = false;
  let saved = { callers: 0, at: 0 };

  const report = async (): Promise<PlaintextReport> => {
    const seen = await look();
    const kept = seen.permissive.flatMap((one) => {
      const first = began.get(one.listener) ?? one.since;
      began.set(one.listener, first);
      const old = before.get(one.listener);
      return old === undefined || first !== one.since ? [] : [old];
    });
    for (const name of seen.strict) before.delete(name);
    const { permissive } = unitePlaintext([
      { strict: [], permissive: seen.permissive },
      { strict: [], permissive: kept },
    ]);
    const since = new Map(kept.map((one) => [one.listener, one.since]));
    return {
      strict: seen.strict,
      permissive: permissive.map((one) => bounded({ ...one, since: since.get(one.listener) ?? one.since })),
    };
  };
  const save = async (last: boolean) => {
    if (directory === undefined) return;
    const now = clock.now();
    const { permissive } = await report();
    const callers = permissive.reduce((sum, one) => sum + one.callers.length, 0);
    if (permissive.length === 0 && !onDisk) return;
    if (!last && callers === saved.callers && now - saved.at < MINUTE) return;
    saved = { callers, at: now };
    onDisk = permissive.length > 0;
    const text = JSON.stringify({ now: new Date(now).toISOString(), strict: [], permissive });
    try {
      await writeGeneration(directory, { [FILE]: { data: `${text}\n`, mode: MODE } });
    } catch (error) {
      if (!isSidelockError(error)) throw error;
      if (!told) log.warn({ event: 'plaintext_record', why: error.message, fix: error.fix }, WHAT_IS_LOST);
      told = true;
    }
  };

  if (directory !== undefined) {
    for (const one of await read(directory, clock.now())) before.set(one.listener, one);
  }
  let onDisk = before.size > 0;
  let turn = Promise.resolve();
  const timer = setInterval(() => {
    turn = turn
      .then(() => save(false))
      .catch((error: unknown) => log.error({ event: 'plaintext_record', err: error }, WHAT_IS_LOST));
  }, 5 * SECOND).unref();
  return {
    report,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await turn;
      await save(true);
    },
  };
}

const WHAT_IS_LOST = 'who calls without TLS cannot be kept: after a restart sidelock migrate begins to watch anew';

/** What was kept, with all times moved by the span in which nothing watched. */
async function read(directory: string, now: number): Promise<PlaintextListenerReport[]> {
  try {
    const file = (await readGeneration(directory, [FILE])).get(FILE);
    if (file === undefined) return [];
    const kept = plaintextAnswer.parse(JSON.parse(file.data.toString('utf8')));
    const away = Math.max(0, now - Date.parse(kept.now));
    const moved = (time: string) => new Date(Date.parse(time) + away).toISOString();
    return kept.permissive.map((one) => ({
      listener: one.listener,
      since: moved(one.since),
      callers: one.callers.map((caller) => ({
        ...caller,
        firstSeen: moved(caller.firstSeen),
        lastSeen: moved(caller.lastSeen),
      })),
      other: { ...one.other, lastSeen: one.other.lastSeen && moved(one.other.lastSeen) },
      open: 0,
    }));
  } catch {
    return [];
  }
}

/** Of too many callers the latest keep their names. */
function bounded(report: PlaintextListenerReport): PlaintextListenerReport {
  if (report.callers.length <= MAX_CALLERS) return report;
  const sorted = report.callers.toSorted((a, b) => (a.lastSeen > b.lastSeen ? -1 : 1));
  const rest = sorted.slice(MAX_CALLERS);
  const last = [report.other.lastSeen, ...rest.map(({ lastSeen }) => lastSeen)].filter((seen) => seen !== undefined);
  return {
    ...report,
    callers: sorted.slice(0, MAX_CALLERS),
    other: {
      connections: report.other.connections + rest.reduce((sum, { connections }) => sum + connections, 0),
      lastSeen: last.toSorted().at(-1),
    },
  };
}
