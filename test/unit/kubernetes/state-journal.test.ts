import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { SidelockError } from '../../../src/base/errors.ts';
import { createLogger } from '../../../src/base/log.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { isObject, textOf } from '../../../src/kubernetes/names.ts';
import { secretJournal } from '../../../src/kubernetes/state-journal.ts';
import { openAuditLog } from '../../../src/manager/audit.ts';
import { verifyAudit } from '../../../src/manager/audit-verify.ts';
import { createManagerMetrics } from '../../../src/manager/metrics.ts';
import type { Change } from '../../../src/store/changes.ts';
import { appendDurable, removeDurable, renameDurable, writeFileDurable } from '../../../src/store/files.ts';
import { writeGeneration } from '../../../src/store/generation.ts';
import { type Journal, openMirror } from '../../../src/store/mirror.ts';
import { fakeObjects, unreachable } from '../../support/kubernetes/secrets.ts';
import { temporaryDirectory } from '../../support/manager/rig.ts';

type Objects = ReturnType<typeof fakeObjects>;

const log = createLogger({ level: 'silent' });
// The clock lets a process end that only waits.
const alive = setInterval(() => {}, 1_000);
t.teardown(() => clearInterval(alive));

function journalOf({ api }: Objects, identity: string, holds = () => true) {
  const { signal } = new AbortController();
  return secretJournal({ api, namespace: 'n', identity, holds, clock: systemClock, log, signal });
}

async function open(objects: Objects, directory: string, identity: string) {
  const failures: unknown[] = [];
  const journal = journalOf(objects, identity);
  const mirror = await openMirror({ directory, journal, log, onFailure: (error) => failures.push(error) });
  return { mirror, journal, failures };
}

/** Everything but the mark, with modes, as readers see it. */
async function tree(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(directory.length + 1);
    if (name.includes('..') || name.endsWith('/mirror') || !(await stat(path)).isFile()) continue;
    found[name] = `${((await stat(path)).mode & 0o777).toString(8)} ${await readFile(path, 'utf8')}`;
  }
  return found;
}

/** What the Secrets say, unpacked. */
function unpacked({ kept }: Objects): string {
  const texts = [...kept.values()].map(({ data }) =>
    gunzipSync(Buffer.from(textOf(isObject(data) ? data : {}, 'changes'), 'base64')).toString(),
  );
  return texts.join('\n');
}

t.test('whatever is written is there for the next one, put together or not', async (t) => {
  const home = await temporaryDirectory(t);
  const objects = fakeObjects();
  let before: Record<string, string> = {};
  for (let term = 0; term < 6; term++) {
    const directory = join(home, `replica-${term}`);
    const { mirror, journal } = await open(objects, directory, `replica-${term}`);
    t.strictSame(await tree(directory), before, `term ${term} begins with what there was`);
    const state = join(directory, '.sidelock');
    await mkdir(join(state, 'inventory'), { recursive: true });
    for (let step = 0; step < 40; step++) {
      const name = `${Math.floor(Math.random() * 12)}.json`;
      const kind = Math.floor(Math.random() * 5);
      if (kind === 0) await removeDurable(join(state, 'inventory', name));
      else if (kind === 1) await appendDurable(join(state, 'audit.log'), `line ${term} ${step}\n`, 0o600);
      else if (kind === 2) {
        const data = `cert ${term} ${step}`;
        await writeGeneration(join(directory, 'web'), { 'cert.pem': { data, mode: 0o644 } });
      } else await writeFileDurable(join(state, 'inventory', name), 'x'.repeat(30_000 * Math.random()), 0o600);
      if (step % 10 === 0) await mirror.settled();
    }
    if (term === 3) {
      await removeDurable(join(directory, 'web'));
      await renameDurable(join(state, 'audit.log'), join(state, 'audit.log.damaged'));
    }
    await mirror.settled();
    before = await tree(directory);
    if (term % 2 === 1) {
      await writeFileDurable(join(state, 'old.key'), 'k', 0o600);
      await removeDurable(join(state, 'old.key'));
      await mirror.settled();
      await journal.tidy();
    }
    await mirror[Symbol.asyncDispose]();
    t.strictSame(await readdir(directory), ['.sidelock'], 'who leads no more keeps nothing');
  }
  t.ok(objects.kept.size < 12, `${objects.kept.size} Secrets after 240 steps`);
});

t.test('what comes while a slow append runs is written as soon as that ends', async (t) => {
  const directory = await temporaryDirectory(t);
  const appended: string[][] = [];
  let slow: PromiseWithResolvers<void> | undefined;
  const journal: Journal = {
    open: async () => [],
    async append(changes) {
      appended.push(changes.map(({ path }) => path));
      await slow?.promise;
    },
    tidy: async () => {},
  };
  const mirror = await openMirror({ directory, journal, log, onFailure: t.error });
  slow = Promise.withResolvers();
  await writeFileDurable(join(directory, 'one'), '1', 0o600);
  const first = mirror.settled();
  await writeFileDurable(join(directory, 'two'), '2', 0o600);
  // Of one length, and so after the one by which it lingers.
  await setTimeout(250);
  slow.resolve();
  await first;
  await setTimeout(0);
  t.strictSame(appended.slice(1), [['one'], ['two']]);
  await mirror[Symbol.asyncDispose]();
});

t.test('of two that both think they lead the one that was overtaken writes nothing more', async (t) => {
  const home = await temporaryDirectory(t);
  const objects = fakeObjects();
  const first = await open(objects, join(home, 'a'), 'a');
  await writeFileDurable(join(home, 'a', 'one'), '1', 0o600);
  await first.mirror.settled();
  const second = await open(objects, join(home, 'b'), 'b');
  await writeFileDurable(join(home, 'a', 'two'), '2', 0o600);
  await t.rejects(first.mirror.settled(), { code: 'SL-HA-001', why: /another manager/ });
  await t.rejects(first.mirror.settled(), { code: 'SL-HA-001' }, 'and never again');
  t.equal(first.failures.length, 1);
  await writeFileDurable(join(home, 'b', 'three'), '3', 0o600);
  await second.mirror.settled();
  await second.mirror[Symbol.asyncDispose]();
  const third = await open(objects, join(home, 'c'), 'c');
  t.strictSame(Object.keys(await tree(join(home, 'c'))).sort(), ['one', 'three']);
  await third.mirror[Symbol.asyncDispose]();
});

t.test('an answer that was lost is no conflict, and an API server that is away is waited for', async (t) => {
  const home = await temporaryDirectory(t);
  let lose = 0;
  let away = 0;
  const objects = fakeObjects((method) => {
    if (method !== 'remove' && away-- > 0) throw unreachable();
  });
  const { create } = objects.api;
  objects.api.create = async (path, object) => {
    const made = await create(path, object);
    if (lose-- > 0) throw unreachable();
    return made;
  };
  const { mirror } = await open(objects, join(home, 'a'), 'a');
  lose = 1;
  await writeFileDurable(join(home, 'a', 'one'), '1', 0o600);
  await mirror.settled();
  away = 2;
  await writeFileDurable(join(home, 'a', 'two'), '2', 0o600);
  await mirror.settled();
  await mirror[Symbol.asyncDispose]();
  await open(objects, join(home, 'b'), 'b');
  t.strictSame(Object.keys(await tree(join(home, 'b'))).sort(), ['one', 'two']);
});

t.test('an API server that starts refuses everybody for a moment; one that goes on is believed', async (t) => {
  const home = await temporaryDirectory(t);
  let refusing = 0;
  const objects = fakeObjects(() => {
    if (refusing-- > 0) throw new SidelockError('SL-KUBE-002', 'cannot POST: 403', { data: { kubernetes: 403 } });
  });
  const { signal } = new AbortController();
  const clock = { now: systemClock.now, sleep: async () => {} };
  const common = { api: objects.api, namespace: 'n', identity: 'a', holds: () => true, clock, log, signal };
  const failures: unknown[] = [];
  const onFailure = (error: unknown) => failures.push(error);
  const mirror = await openMirror({ directory: join(home, 'a'), journal: secretJournal(common), log, onFailure });
  refusing = 20;
  await writeFileDurable(join(home, 'a', 'one'), '1', 0o600);
  await mirror.settled();
  t.strictSame(failures, []);
  refusing = 1_000;
  await writeFileDurable(join(home, 'a', 'two'), '2', 0o600);
  await t.rejects(mirror.settled(), { code: 'SL-KUBE-002' });
  t.equal(failures.length, 1);
});

t.test('a file that one Secret cannot hold is in several, whole or not at all', async (t) => {
  const home = await temporaryDirectory(t);
  let interrupt: (() => Promise<unknown>) | undefined;
  const objects = fakeObjects(async (method) => {
    if (method !== 'create') return;
    const now = interrupt;
    interrupt = undefined;
    await now?.();
  });
  const path = '.sidelock/revocations.json';
  const large = () => randomBytes(2 << 20).toString('hex');
  const first = await open(objects, join(home, 'a'), 'a');
  const written = large();
  await writeFileDurable(join(home, 'a', path), written, 0o600);
  await first.mirror.settled();
  await first.mirror[Symbol.asyncDispose]();
  t.ok(objects.kept.size > 4, `${objects.kept.size} Secrets`);

  const second = await open(objects, join(home, 'b'), 'b');
  t.equal((await tree(join(home, 'b')))[path], `600 ${written}`);
  // Another one takes over when the first piece of the next is there.
  interrupt = async () => {
    interrupt = () => journalOf(objects, 'c').open();
  };
  await writeFileDurable(join(home, 'b', path), large(), 0o600);
  await t.rejects(second.mirror.settled(), { code: 'SL-HA-001' });

  const third = await open(objects, join(home, 'd'), 'd');
  t.equal((await tree(join(home, 'd')))[path], `600 ${written}`, 'what was not whole never was');
  const state = join(home, 'd', '.sidelock');
  await writeFileDurable(join(state, 'old.key'), 'k', 0o600);
  await removeDurable(join(state, 'old.key'));
  await third.mirror.settled();
  await third.journal.tidy();
  const before = objects.kept.size;
  await writeFileDurable(join(home, 'd', path), 'short', 0o600);
  await writeFileDurable(join(state, 'old.key'), 'k', 0o600);
  await removeDurable(join(state, 'old.key'));
  await third.mirror[Symbol.asyncDispose]();
  t.ok(objects.kept.size <= before - 4, 'the pieces of what counts no more are gone');
  await open(objects, join(home, 'e'), 'e');
  t.equal((await tree(join(home, 'e')))[path], '600 short');
});

t.test('what says nothing between two that are full is removed, and never the newest', async (t) => {
  const large = (path: string): Change => ({
    kind: 'file',
    path,
    data: randomBytes(1 << 20).toString('hex'),
    mode: 0o600,
  });
  const key = { path: '.sidelock/old.key', mode: 0o600, data: 'k' };
  for (const alone of [false, true]) {
    let interrupt: (() => Promise<unknown>) | undefined;
    const objects = fakeObjects(async (method) => {
      const now = interrupt;
      if (method === 'create') interrupt = undefined;
      if (method === 'create') await now?.();
    });
    const first = journalOf(objects, 'a');
    await first.open();
    await first.append([
      { kind: 'file', ...key },
      { kind: 'gone', path: key.path },
    ]);
    await first.append([large('one')]);
    const second = journalOf(objects, 'b');
    interrupt = async () => {
      interrupt = () => second.open();
    };
    await t.rejects(first.append([large('two')]), { code: 'SL-HA-001' });
    const names = [...objects.kept.keys()].sort();
    await second.append([large('three')]);
    // As when the next one's mark was already put together with others.
    if (alone) objects.kept.delete(names.at(-1) ?? '');
    const third = journalOf(objects, 'c');
    const said = (await third.open()).map(({ path }) => path);
    t.same([...new Set(said)], [key.path, 'one', 'three']);
    const newest = [...objects.kept.keys()].sort().at(-1) ?? '';
    await third.tidy();
    t.same(
      names.slice(-2).filter((name) => objects.kept.has(name)),
      [],
      'neither a lost piece nor the mark of who took over',
    );
    t.ok(objects.kept.has(newest), 'the opening of this term, which shuts out whoever led before');
    t.same(
      (await journalOf(objects, 'd').open()).map(({ kind, path }) => `${kind} ${path}`),
      [`gone ${key.path}`, 'file one', 'file three'],
    );
  }
});

t.test('whoever led before is shut out also when the next one has tidied', async (t) => {
  const objects = fakeObjects();
  const first = journalOf(objects, 'a');
  await first.open();
  const file = (path: string): Change => ({ kind: 'file', path, data: 'x', mode: 0o600 });
  await first.append([file('one')]);
  const second = journalOf(objects, 'b');
  await second.open();
  await second.append([file('old.key')]);
  await second.append([{ kind: 'gone', path: 'old.key' }, file('two')]);
  await second.tidy();
  await t.rejects(first.append([file('one')]), { code: 'SL-HA-001' });
  const said = await journalOf(objects, 'c').open();
  const files = said.filter(({ kind }) => kind === 'file');
  t.same(
    files.map(({ path }) => path),
    ['one', 'two'],
  );
});

t.test('tidying beside a write of several Secrets removes nothing of it', async (t) => {
  const objects = fakeObjects(async (method) => {
    if (method !== 'create' || atPiece !== 2) return;
    atPiece = 0;
    await journal.tidy();
  });
  let atPiece = 0;
  const { create } = objects.api;
  objects.api.create = async (path, object) => {
    const made = await create(path, object);
    if (atPiece > 0) atPiece += 1;
    return made;
  };
  const journal = journalOf(objects, 'a');
  await journal.open();
  const old = '.sidelock/old.key';
  await journal.append([{ kind: 'file', path: old, data: 'very secret', mode: 0o600 }]);
  await journal.append([{ kind: 'gone', path: old }]);
  const data = randomBytes(2 << 20).toString('hex');
  atPiece = 1;
  await journal.append([{ kind: 'file', path: 'large', data, mode: 0o600 }]);
  const said = await journalOf(objects, 'b').open();
  t.match(said.at(-1), { path: 'large', data });
  t.equal(said.length, 2, 'and what was to be removed is');
});

t.test('a key that is destroyed is in no Secret any more', async (t) => {
  const home = await temporaryDirectory(t);
  const objects = fakeObjects();
  const { mirror } = await open(objects, join(home, 'a'), 'a');
  const key = join(home, 'a', '.sidelock', 'root.key');
  await writeFileDurable(key, 'very secret', 0o600);
  await mirror.settled();
  t.match(unpacked(objects), /very secret/);
  await removeDurable(key);
  await mirror[Symbol.asyncDispose]();
  t.notMatch(unpacked(objects), /very secret/);
});

t.test('nor is one that went with its directory, or with a certificate that was deleted', async (t) => {
  const key = { data: 'very secret', mode: 0o600 };
  const objects = fakeObjects();
  let term = 0;
  for (const [made, gone] of [
    [{ kind: 'file', path: '.sidelock/devices-2/issuer.key', ...key }, '.sidelock/devices-2'],
    [{ kind: 'set', path: 'web', files: { 'cert.pem': { data: 'cert', mode: 0o644 }, 'key.pem': key } }, 'web'],
  ] as const) {
    for (const who of ['it', 'the next one']) {
      let journal = journalOf(objects, `replica-${++term}`);
      await journal.open();
      await journal.append([made]);
      await journal.append([{ kind: 'gone', path: gone }]);
      if (who !== 'it') {
        journal = journalOf(objects, `replica-${++term}`);
        await journal.open();
      }
      await journal.tidy();
      t.notMatch(unpacked(objects), /very secret/, `${gone}, by ${who}`);
    }
  }
  const calm = journalOf(objects, 'last');
  await calm.open();
  const before = [...objects.kept.keys()];
  await calm.tidy();
  t.same([...objects.kept.keys()], before, 'what was purged is not purged at each start');
});

t.test('a key that could not be purged at once is purged later, also by the next who leads', async (t) => {
  let broken = false;
  const objects = fakeObjects((method) => {
    if (broken && method === 'replace') throw unreachable();
  });
  const destroyed = async (identity: string) => {
    const journal = journalOf(objects, identity);
    await journal.open();
    const path = '.sidelock/root.key';
    await journal.append([{ kind: 'file', path, data: 'very secret', mode: 0o600 }]);
    await journal.append([{ kind: 'gone', path }]);
    broken = true;
    await t.rejects(journal.tidy(), { code: 'SL-KUBE-001' });
    t.match(unpacked(objects), /very secret/);
    broken = false;
    return journal;
  };
  const first = await destroyed('a');
  await first.tidy();
  t.notMatch(unpacked(objects), /very secret/);

  await destroyed('b');
  const next = journalOf(objects, 'c');
  await next.open();
  await next.tidy();
  t.notMatch(unpacked(objects), /very secret/);
});

t.test('a state that lies in a directory is taken over once, and never mixed with another one', async (t) => {
  const home = await temporaryDirectory(t);
  const objects = fakeObjects();
  const old = join(home, 'old');
  await mkdir(join(old, '.sidelock', 'ca'), { recursive: true });
  await writeFileDurable(join(old, '.sidelock', 'ca', 'root.crt'), 'root', 0o644);
  await writeFileDurable(join(old, '.sidelock', 'audit.log'), 'a line\n'.repeat(60_000), 0o600);
  await writeFileDurable(join(old, '.sidelock', 'lock.0123456789abcdef'), 'mine', 0o600);
  await writeGeneration(join(old, 'web'), { 'cert.pem': { data: 'cert', mode: 0o644 } });
  const { '.sidelock/lock.0123456789abcdef': _lock, ...content } = await tree(old);
  await (await open(objects, old, 'a')).mirror[Symbol.asyncDispose]();
  await open(objects, join(home, 'new'), 'b');
  t.strictSame(await tree(join(home, 'new')), content);
  await mkdir(join(home, 'other', '.sidelock', 'ca'), { recursive: true });
  await writeFileDurable(join(home, 'other', '.sidelock', 'ca', 'root.crt'), 'another root', 0o644);
  await t.rejects(open(objects, join(home, 'other'), 'c'), { code: 'SL-STORE-003' });
  const refusing = { directory: join(home, 'none'), journal: journalOf(fakeObjects(), 'd'), log, onFailure: () => {} };
  const mayBegin = () => Promise.reject(new Error('not here'));
  await t.rejects(openMirror({ ...refusing, mayBegin }), /not here/, 'a beginning may be refused');
});

t.test('an audit log within bounds takes no more of the cluster, and the next leader can verify it', async (t) => {
  const home = await temporaryDirectory(t);
  const objects = fakeObjects();
  const keptBytes = 64 * 1024;
  const event = { action: 'certificate_issued', actor: 'operator', result: 'ok' } as const;
  const sizes: number[] = [];
  for (let term = 0; term < 4; term++) {
    const directory = join(home, `replica-${term}`);
    const { mirror } = await open(objects, directory, `replica-${term}`);
    const state = join(directory, '.sidelock');
    const path = join(state, 'audit.log');
    const metrics = createManagerMetrics(createMetrics(), 'test');
    {
      await using audit = await openAuditLog({ path, keptBytes, clock: systemClock, log, metrics });
      t.ok(audit.head().seq >= term * 600, `term ${term} goes on at ${audit.head().seq}`);
      for (let batch = 0; batch < 60; batch++) {
        const serials = Array.from({ length: 10 }, () => randomBytes(16).toString('hex'));
        await Promise.all(serials.map((serial) => audit.append({ ...event, serial })));
        await mirror.settled();
      }
    }
    const { ok, dropped, head } = await verifyAudit(path);
    t.ok(ok && dropped > term * 500, `${dropped} of ${head.seq} dropped`);
    await writeFileDurable(join(state, 'old.key'), 'k', 0o600);
    await removeDurable(join(state, 'old.key'));
    // Tidies, as a key is gone.
    await mirror[Symbol.asyncDispose]();
    sizes.push(unpacked(objects).length);
  }
  t.ok(Math.max(...sizes) < 2 * keptBytes, `unpacked: ${sizes.join(', ')} bytes`);
});
