import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import t from 'tap';
import { createLogger } from '../../../src/base/log.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { openAuditLog } from '../../../src/manager/audit.ts';
import { auditPieces } from '../../../src/manager/audit-pieces.ts';
import { verifyAudit } from '../../../src/manager/audit-verify.ts';
import { readEntries, writeEntries } from '../../../src/manager/backup-entries.ts';
import { createManagerMetrics } from '../../../src/manager/metrics.ts';
import { openFileStore } from '../../../src/store/file-store.ts';
import { fakeClock } from '../../support/fake-clock.ts';

t.test('an audit log that goes on, begins files and drops others is in a backup as it was at one moment', async (t) => {
  const clock = fakeClock();
  const log = createLogger({ level: 'silent' });
  const [storage, elsewhere] = [join(t.testdir(), 'pki'), join(t.testdir({}), 'restored')];
  const path = join(storage, '.sidelock/audit.log');
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(join(dirname(path), 'tokens.json'), '{}', { mode: 0o600 });
  await writeFile(`${path}.damaged-7`, 'old', { mode: 0o600 });
  const metrics = createManagerMetrics(createMetrics(), 'test');
  await using audit = await openAuditLog({ path, keptBytes: 8 * 1024, clock, log, metrics });
  const issue = async (count: number) => {
    for (let i = 0; i < count; i++)
      await audit.append({ action: 'certificate_issued', actor: 'operator', result: 'ok' });
  };
  await issue(60);
  const store = await openFileStore({ path: storage, clock, log, repairModes: false });
  for (const few of [1, 3, 12]) {
    const target = join(elsewhere, String(few));
    const before = await auditPieces(path);
    const head = audit.head();
    async function* busy() {
      for await (const chunk of readEntries(storage, store, new Map())) {
        await issue(few);
        yield chunk;
      }
    }
    let at = '';
    const found: string[] = [];
    await writeEntries(busy(), {
      async begin(entry) {
        at = join(target, entry.path);
        found.push(basename(at));
        await mkdir(dirname(at), { recursive: true });
      },
      data: (data) => appendFile(at, data),
      end: async () => {},
    });
    t.notSame(await auditPieces(path), before, 'files began and went');
    const verdict = await verifyAudit(join(target, 'state/audit.log'));
    t.match(verdict, { ok: true, line: undefined, why: undefined }, `${few} at a time`);
    t.ok(verdict.head.seq >= head.seq, 'all that was there when it began');
    t.ok(found.includes('audit.log.damaged-7') && found.includes('tokens.json'));
  }
});
