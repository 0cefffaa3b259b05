import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DAY, HOUR } from '../../../src/base/clock.ts';
import { keepPlaintextRecord } from '../../../src/sidecar/plaintext-record.ts';
import type { PlaintextReport } from '../../../src/sidecar/serving.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { recordingLog } from '../../support/identity-fakes.ts';

const at = (ms: number) => new Date(ms).toISOString();
const START = Date.parse('2026-11-01T00:00:00Z');

interface Seen {
  readonly since: number;
  readonly callers?: Readonly<Record<string, number>>;
}

function permissive({ since, callers = {} }: Seen): PlaintextReport {
  const listed = Object.entries(callers).map(([address, seen]) => ({
    address,
    connections: 1,
    firstSeen: at(seen),
    lastSeen: at(seen),
  }));
  const other = { connections: 0, lastSeen: undefined };
  return { strict: [], permissive: [{ listener: 'in', since: at(since), callers: listed, other, open: 0 }] };
}

async function directoryOf(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-seen-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return join(directory, 'seen');
}

/** One life of a sidecar, which sees `seen` at `now`. */
async function life(directory: string, now: number, seen: PlaintextReport | (() => PlaintextReport)) {
  const { log, lines } = recordingLog();
  const look = async () => (typeof seen === 'function' ? seen() : seen);
  await using record = await keepPlaintextRecord({ directory, look, clock: fakeClock(now), log });
  return { report: await record.report(), lines };
}

t.test('what was seen survives a restart; the time between does not count', async (t) => {
  const directory = await directoryOf(t);
  await life(directory, START + 2 * DAY, permissive({ since: START, callers: { '10.0.0.7': START + DAY } }));
  const again = START + 5 * DAY;
  const { report } = await life(directory, again, permissive({ since: again, callers: { '10.0.0.8': again } }));
  t.match(report.permissive, [
    {
      since: at(START + 3 * DAY),
      callers: [
        { address: '10.0.0.8', lastSeen: at(again) },
        { address: '10.0.0.7', lastSeen: at(START + 4 * DAY), connections: 1 },
      ],
    },
  ]);
  const third = await life(directory, again + HOUR, permissive({ since: again + HOUR }));
  t.match(third.report.permissive, [{ since: at(START + 3 * DAY + HOUR), callers: { length: 2 } }]);
});

t.test('a listener that was strict in between begins anew', async (t) => {
  const directory = await directoryOf(t);
  const old = permissive({ since: START, callers: { '10.0.0.7': START } });
  await life(directory, START + DAY, old);
  await life(directory, START + DAY, { strict: ['in'], permissive: [] });
  const { report } = await life(directory, START + DAY, permissive({ since: START + DAY }));
  t.match(report.permissive, [{ since: at(START + DAY), callers: [] }]);

  await rm(directory, { recursive: true });
  await life(directory, START + DAY, old);
  let seen = permissive({ since: START + DAY });
  const { log } = recordingLog();
  const record = await keepPlaintextRecord({ directory, look: async () => seen, clock: fakeClock(START + DAY), log });
  t.match((await record.report()).permissive, [{ since: at(START) }]);
  seen = permissive({ since: START + DAY + 1 });
  t.match((await record.report()).permissive, [{ since: at(START + DAY + 1), callers: [] }], 'also within one life');
  await record[Symbol.asyncDispose]();
});

t.test('more callers than are kept: the latest keep their names', async (t) => {
  const directory = await directoryOf(t);
  const many = (n: number, when: number) =>
    permissive({
      since: START,
      callers: Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`10.${n}.0.${i}`, when])),
    });
  await life(directory, START + 1, many(1, START));
  const { report } = await life(directory, START + 1, many(2, START + 1));
  t.equal(report.permissive[0]?.callers.length, 256);
  t.equal(report.permissive[0]?.callers.filter(({ address }) => address.startsWith('10.2.')).length, 200);
  t.match(report.permissive[0]?.other, { connections: 144, lastSeen: at(START) });
});

t.test('a damaged record is none, a place that cannot be written is told once', async (t) => {
  const directory = await directoryOf(t);
  await life(directory, START, permissive({ since: START - DAY }));
  await writeFile(join(directory, 'plaintext.json'), '{');
  const { report } = await life(directory, START, permissive({ since: START }));
  t.match(report.permissive, [{ since: at(START), callers: [] }]);
  await writeFile(`${directory}-file`, '');
  const { lines } = await life(`${directory}-file/seen`, START, permissive({ since: START }));
  t.match(lines, [{ event: 'plaintext_record', level: 40 }]);
});
