import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createLogger } from '../../../src/base/log.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { type AuditLog, openAuditLog } from '../../../src/manager/audit.ts';
import { verifyAudit } from '../../../src/manager/audit-verify.ts';
import { createManagerMetrics } from '../../../src/manager/metrics.ts';
import { fakeClock } from '../../support/fake-clock.ts';

const clock = fakeClock();

function openLog(path: string): Promise<AuditLog> {
  const metrics = createManagerMetrics(createMetrics(), 'test');
  return openAuditLog({ path, clock, log: createLogger({ level: 'silent' }), metrics });
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

t.test('a log is read once when it is opened, and what it revoked before damage stands', async (t) => {
  const directory = t.testdir();
  const path = join(directory, 'audit.log');
  const revoke = { action: 'certificate_revoked', actor: 'operator', result: 'ok', why: 'keyCompromise' } as const;
  {
    await using audit = await openLog(path);
    await Promise.all(Array.from({ length: 20_000 }, (_, i) => audit.append({ ...revoke, serial: `${i}` })));
  }
  const read = async () => Number(/^rchar: (\d+)/.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
  const { size } = await stat(path);
  const before = await read();
  {
    await using audit = await openLog(path);
    t.equal(audit.revoked.size, 20_000);
  }
  const times = ((await read()) - before) / size;
  t.ok(times > 0.9 && times < 1.5, `${times.toFixed(2)} times`);
  await appendFile(path, 'hello\n');
  await using audit = await openLog(path);
  t.equal(audit.head().seq, 1);
  t.equal(audit.revoked.size, 20_000, 'and what the good lines of a damaged one say');
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
