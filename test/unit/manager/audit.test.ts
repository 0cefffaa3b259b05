import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createLogger, type Logger } from '../../../src/base/log.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { type AuditLog, openAuditLog } from '../../../src/manager/audit.ts';
import { auditPieces } from '../../../src/manager/audit-pieces.ts';
import { verifyAudit } from '../../../src/manager/audit-verify.ts';
import { createManagerMetrics } from '../../../src/manager/metrics.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { recordingLog } from '../../support/manager/rig.ts';
import { requireProgram } from '../../support/programs.ts';

const clock = fakeClock();

interface Bound {
  readonly keptBytes?: number;
  readonly log?: Logger;
}

function openLog(path: string, { keptBytes, log = createLogger({ level: 'silent' }) }: Bound = {}): Promise<AuditLog> {
  const metrics = createManagerMetrics(createMetrics(), 'test');
  return openAuditLog({ path, keptBytes, clock, log, metrics });
}

async function written(directory: string, count: number): Promise<string> {
  const path = join(directory, 'audit.log');
  await using audit = await openLog(path);
  for (let i = 1; i <= count; i++) {
    await audit.append({ action: 'certificate_issued', actor: 'operator', serial: `${i}`, result: 'ok' });
  }
  return path;
}

const linesOf = async (path: string) => (await readFile(path, 'utf8')).trimEnd().split('\n');

t.test('each line names who, what, when and the result, in a file only its owner reads', async (t) => {
  const path = await written(t.testdir(), 2);
  const [first, second] = (await linesOf(path)).map((line) => JSON.parse(line));
  t.match(first, { seq: 1, time: '2026-11-24T00:00:00.000Z', actor: 'operator', serial: '1', result: 'ok' });
  t.equal(first.prev, '0'.repeat(64));
  t.equal(second.prev, first.hash);
  t.equal((await stat(path)).mode & 0o777, 0o600);
});

t.test('the hash can be computed again with a shell', async (t) => {
  if (requireProgram(t, 'sha256sum') === undefined) return;
  const path = await written(t.testdir(), 1);
  const script = `head -n1 "$1" | sed 's/,"hash":"[0-9a-f]*"}$/}/' | tr -d '\\n' | sha256sum | cut -d' ' -f1`;
  const hash = execFileSync('sh', ['-c', script, 'sh', path], { encoding: 'utf8' }).trim();
  t.equal(JSON.parse((await linesOf(path))[0] ?? '').hash, hash);
});

t.test('a thousand appends at once keep the chain and go to the disk together', async (t) => {
  const path = join(t.testdir(), 'audit.log');
  await using audit = await openLog(path);
  await Promise.all(
    Array.from({ length: 1000 }, (_, i) => audit.append({ action: 'token_used', actor: `token:${i}`, result: 'ok' })),
  );
  t.match(await verifyAudit(path, audit.head()), { ok: true, head: { seq: 1000 } });
});

t.test('M44 verify finds a flipped, deleted, swapped or cut line', async (t) => {
  const damage: Readonly<Record<string, (lines: string[]) => string[]>> = {
    flipped: (lines) => lines.map((line, i) => (i === 3 ? line.replace('"ok"', '"no"') : line)),
    deleted: (lines) => lines.filter((_, i) => i !== 3),
    swapped: ([a = '', b = '', ...rest]) => [b, a, ...rest],
    garbage: (lines) => lines.map((line, i) => (i === 3 ? 'hello' : line)),
    'not an object': (lines) => lines.map((line, i) => (i === 3 ? line.replace(/^\{/, '{{') : line)),
    'cut at the end': (lines) => lines.slice(0, -1),
  };
  for (const [what, change] of Object.entries(damage)) {
    const directory = t.testdir();
    const path = await written(directory, 8);
    const { head } = await verifyAudit(path);
    await writeFile(path, `${change(await linesOf(path)).join('\n')}\n`);
    const verdict = await verifyAudit(path, head);
    t.equal(verdict.ok, false, what);
    t.type(verdict.why, 'string');
  }
});

t.test('a head kept elsewhere finds a log that was written anew', async (t) => {
  const { head } = await verifyAudit(await written(t.testdir(), 3));
  const other = join(t.testdir(), 'audit.log');
  await using audit = await openLog(other);
  for (let i = 0; i < 5; i++) await audit.append({ action: 'token_used', actor: 'x', result: 'ok' });
  t.match(await verifyAudit(other, head), { ok: false, line: 3 });
});

t.test('a line that a crash cut short is taken off and the chain goes on', async (t) => {
  const path = await written(t.testdir(), 3);
  await appendFile(path, '{"seq":4,"time":"2026-');
  await using audit = await openLog(path);
  t.equal(audit.head().seq, 3);
  await audit.append({ action: 'token_used', actor: 'x', result: 'ok' });
  t.match(await verifyAudit(path), { ok: true, head: { seq: 4 } });
});

t.test('every length a crash can leave is opened again', async (t) => {
  const directory = t.testdir();
  const path = await written(directory, 3);
  const { size } = await stat(path);
  for (let length = size; length >= 0; length -= 7) {
    await truncate(path, length);
    await using audit = await openLog(path);
    t.equal((await verifyAudit(path, audit.head())).ok, true);
  }
  t.same(await readdir(directory), ['audit.log'], 'none was taken for damage');
});

t.test('a damaged log is set aside and the new one says so in its first line', async (t) => {
  const directory = t.testdir();
  const path = await written(directory, 4);
  const lines = await linesOf(path);
  await writeFile(path, `${lines.toSpliced(1, 1).join('\n')}\n`);
  await using audit = await openLog(path);
  t.equal(audit.head().seq, 1);
  const [first] = (await linesOf(path)).map((line) => JSON.parse(line));
  t.match(first, { action: 'audit_restarted', result: 'failed', why: /^line 2 .* it is kept as/ });
  t.equal((await readdir(directory)).filter((name) => name.startsWith('audit.log.damaged-')).length, 1);
});

async function revokedLog(directory: string): Promise<string> {
  const path = join(directory, 'audit.log');
  const revoke = { action: 'certificate_revoked', actor: 'operator', result: 'ok', why: 'keyCompromise' } as const;
  await using audit = await openLog(path);
  await Promise.all(Array.from({ length: 20_000 }, (_, i) => audit.append({ ...revoke, serial: `${i}` })));
  return path;
}

t.test('what a log revoked stands when it is opened again, and what it did before damage', async (t) => {
  const path = await revokedLog(t.testdir());
  {
    await using audit = await openLog(path);
    t.equal(audit.revoked.size, 20_000);
  }
  await appendFile(path, 'hello\n');
  await using audit = await openLog(path);
  t.equal(audit.head().seq, 1);
  t.equal(audit.revoked.size, 20_000, 'and what the good lines of a damaged one say');
});

const countsReads = existsSync('/proc/self/io') ? false : 'this system does not tell what a process has read';

t.test('a log is read once when it is opened', { skip: countsReads }, async (t) => {
  const path = await revokedLog(t.testdir());
  const read = async () => Number(/^rchar: (\d+)/.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
  const { size } = await stat(path);
  const before = await read();
  await using _ = await openLog(path);
  const times = ((await read()) - before) / size;
  t.ok(times > 0.9 && times < 1.5, `${times.toFixed(2)} times`);
});

t.test('a log that cannot be written refuses the operation and leaves no partial line', async (t) => {
  const directory = t.testdir();
  const path = await written(directory, 2);
  await using audit = await openLog(path);
  await rm(path);
  await mkdir(path);
  await t.rejects(audit.append({ action: 'token_used', actor: 'x', result: 'ok' }), { code: 'SL-FS-003' });
  t.equal(audit.head().seq, 2, 'the head stays at the last line that is on disk');
});

const KEPT = 8 * 1024;

/** Entries a few at a time, as requests come. */
async function issue(audit: AuditLog, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 4) {
    const few = Array.from({ length: Math.min(4, left) }, (_, i) =>
      audit.append({ action: 'certificate_issued', actor: 'operator', serial: `${left - i}`, result: 'ok' }),
    );
    await Promise.all(few);
  }
}

async function bounded(t: Test, count = 60) {
  const directory = t.testdir();
  const path = join(directory, 'audit.log');
  const { log, lines } = recordingLog();
  const audit = await openLog(path, { keptBytes: KEPT, log });
  await issue(audit, count);
  // What it drops after the last answer is dropped then.
  await audit[Symbol.asyncDispose]();
  const sizes = await Promise.all((await auditPieces(path)).map(async (piece) => (await stat(piece)).size));
  return { directory, path, lines, head: audit.head(), size: sizes.reduce((a, b) => a + b), pieces: sizes.length };
}

t.test('within bounds the oldest entries go, and the newest prove themselves', async (t) => {
  const { directory, path, lines, head, size, pieces } = await bounded(t);
  t.ok(size >= KEPT && size < KEPT * 1.3, `${size} bytes`);
  t.ok(pieces > 5, `in ${pieces} files`);
  const verdict = await verifyAudit(path, head);
  t.match(verdict, { ok: true, head });
  t.ok(verdict.dropped > 20, `${verdict.dropped} dropped of ${head.seq}`);
  const warnings = lines.filter(({ event }) => event === 'audit_dropped');
  t.equal(
    warnings.reduce((sum, { count }) => sum + Number(count), 0),
    verdict.dropped,
    'each is told',
  );
  // What the log of the manager has is the whole, as it was written.
  const elsewhere = join(directory, 'elsewhere.log');
  const shipped = lines.filter(({ event }) => event === 'audit').map(({ line }) => `${line}\n`);
  await writeFile(elsewhere, shipped.join(''));
  t.match(await verifyAudit(elsewhere, head), { ok: true, dropped: 0 });
  const seqs = shipped.map((line) => JSON.parse(line).seq);
  const at = (seq: number) => ({ seq, hash: JSON.parse(shipped[seqs.indexOf(seq)] ?? '').hash });
  const { dropped } = verdict;
  t.match(await verifyAudit(path, at(dropped + 1)), { ok: true });
  t.match(await verifyAudit(path, at(dropped)), { ok: true }, 'also the last that is gone');
  t.match(await verifyAudit(path, { ...at(dropped), hash: head.hash }), { ok: false, line: 1, why: /differs/ });
  t.match(await verifyAudit(path, at(dropped - 1)), { ok: false, why: /was dropped with all up to/ });

  await using again = await openLog(path);
  await issue(again, 3);
  t.match(await verifyAudit(path, again.head()), { ok: true, head: { seq: head.seq + 3 } });
  t.notMatch(await readdir(directory), /damaged/);
});

t.test('M44 a beginning that somebody else took away is told from one that was dropped', async (t) => {
  const damage: Readonly<Record<string, (pieces: string[]) => Promise<unknown>>> = {
    'the oldest file': ([first = '']) => rm(first),
    'a file between': (pieces) => rm(pieces[4] ?? ''),
    'the oldest line': async ([first = '']) => writeFile(first, `${(await linesOf(first)).slice(1).join('\n')}\n`),
    'a word of the note': async (pieces) => {
      for (const piece of pieces) {
        await writeFile(piece, (await readFile(piece, 'utf8')).replace('all up to', 'all up to '));
      }
    },
  };
  for (const [what, change] of Object.entries(damage)) {
    const { path, head } = await bounded(t);
    await change(await auditPieces(path));
    const verdict = await verifyAudit(path);
    t.equal(verdict.ok, false, what);
    t.type(verdict.why, 'string');
    await using audit = await openLog(path, { keptBytes: KEPT });
    t.equal(audit.head().seq, 1, 'it is set aside as a whole, and begins anew');
    t.not(audit.head().hash, head.hash);
    t.same(await auditPieces(path), [path]);
  }
});

t.test('a crash between the note and the removal is no damage, and is finished', async (t) => {
  const { path } = await bounded(t);
  const before = new Map<string, string>();
  for (const piece of await auditPieces(path)) before.set(piece, await readFile(piece, 'utf8'));
  const { dropped } = await verifyAudit(path);
  const removed = async () => {
    const now = new Set(await auditPieces(path));
    return [...before.keys()].filter((piece) => !now.has(piece));
  };
  {
    await using audit = await openLog(path, { keptBytes: KEPT });
    while ((await removed()).length === 0) await issue(audit, 1);
  }
  const gone = await removed();
  for (const piece of gone) await writeFile(piece, before.get(piece) ?? '');
  t.match(await verifyAudit(path), { ok: true, dropped });
  {
    await using audit = await openLog(path, { keptBytes: KEPT });
    await issue(audit, 1);
  }
  t.same((await removed()).slice(0, gone.length), gone);
  t.match(await verifyAudit(path), { ok: true });
});

t.test(
  'what looks like a secret is in no entry, so that its copy in the log of the manager proves itself',
  async (t) => {
    const directory = t.testdir();
    const written: string[] = [];
    const log = createLogger({ level: 'info', stream: { write: (line) => written.push(line) } });
    await using audit = await openLog(join(directory, 'audit.log'), { keptBytes: KEPT, log });
    for (const service of ['slk_aaaaaaaaaa', 'Bearer x', '-----BEGIN PRIVATE KEY-----"\\n\\\\'])
      await audit.append({ action: 'token_refused', actor: 'x', service, result: 'refused' });
    const shipped = written.map((line) => JSON.parse(line)).filter(({ event }) => event === 'audit');
    const copy = join(directory, 'copy.log');
    await writeFile(copy, shipped.map(({ line }) => `${line}\n`).join(''));
    t.match(await verifyAudit(copy, audit.head()), { ok: true, why: undefined });
    const pieces = await auditPieces(join(directory, 'audit.log'));
    const kept = await Promise.all(pieces.map((piece) => readFile(piece, 'utf8')));
    t.equal(await readFile(copy, 'utf8'), kept.join(''));
  },
);

t.test('a crash between the removals of several files is no damage', async (t) => {
  const { path, pieces } = await bounded(t);
  const before = new Map<string, string>();
  for (const piece of await auditPieces(path)) before.set(piece, await readFile(piece, 'utf8'));
  {
    await using audit = await openLog(path, { keptBytes: KEPT / 4 });
    await issue(audit, 1);
  }
  const kept = await auditPieces(path);
  const gone = [...before].filter(([piece]) => !kept.includes(piece));
  t.ok(gone.length > 2, `${gone.length} of ${pieces} at once`);
  for (const [piece, text] of gone.reverse()) {
    await writeFile(piece, text);
    t.match(await verifyAudit(path), { ok: true, why: undefined });
  }
});

t.test('a long log that was kept as a whole goes when as much is newer', async (t) => {
  const path = join(t.testdir(), 'audit.log');
  {
    await using audit = await openLog(path);
    await issue(audit, 100);
  }
  t.ok((await stat(path)).size > 2 * KEPT);
  await using audit = await openLog(path, { keptBytes: KEPT });
  await issue(audit, 8);
  t.match(await verifyAudit(path), { ok: true, dropped: 0, head: { seq: 108 } });
  while ((await auditPieces(path)).includes(path)) await issue(audit, 1);
  t.match(await verifyAudit(path), { ok: true, dropped: 100 });
});
