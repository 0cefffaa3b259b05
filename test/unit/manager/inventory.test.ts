import { chmod, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createLogger } from '../../../src/base/log.ts';
import { openInventory } from '../../../src/manager/inventory.ts';
import { inventoryEntry as entry } from '../../support/manager/inventory-entry.ts';
import { asNobody } from '../../support/unprivileged.ts';

const log = createLogger({ level: 'silent' });

t.test('what was issued is known after a restart', async (t) => {
  const directory = t.testdir();
  const inventory = await openInventory(directory, log);
  await inventory.add(entry('0a'));
  await inventory.add(entry('0b'));
  await inventory.add(entry('0c', { spiffeId: 'spiffe://ai-teddy.local/ns/default/sa/billing' }));
  await inventory.supersede('0a', '0b', 50);
  const again = await openInventory(directory, log);
  t.equal(again.size, 3);
  t.equal(again.newestIssuedAt, 12);
  t.match(again.get('0a'), { supersededBy: '0b', reusedAt: undefined });
  t.same(
    again
      .newest()
      .map(({ serial }) => serial)
      .sort(),
    ['0b', '0c'],
  );
  t.equal(again.ownerOfKey('key of 0a'), 'spiffe://ai-teddy.local/ns/default/sa/orders');
  t.equal(again.ownerOfKey('key of nobody'), undefined);
});

t.test('the second renewal by one leaf is noted as reuse', async (t) => {
  const inventory = await openInventory(t.testdir(), log);
  await inventory.add(entry('0a'));
  await inventory.supersede('0a', '0b', 50);
  await inventory.supersede('0a', '0c', 60);
  t.match(inventory.get('0a'), { supersededBy: '0c', reusedAt: 60 });
  t.match(inventory.newest(), [{ serial: '0a', reusedAt: 60 }], 'every view shows the same entry');
  await inventory.supersede('ff', '0c', 60);
  t.equal(inventory.size, 1, 'a serial that was never issued is not made up');
});

t.test('of two renewals at once by one leaf the second is noted as reuse', async (t) => {
  const inventory = await openInventory(t.testdir(), log);
  await inventory.add(entry('0a'));
  await Promise.all([inventory.supersede('0a', '0b', 50), inventory.supersede('0a', '0c', 60)]);
  t.match(inventory.get('0a'), { supersededBy: '0c', reusedAt: 60 });
});

t.test('a key belongs to whom it was certified for last', async (t) => {
  const inventory = await openInventory(t.testdir(), log);
  await inventory.add(entry('0a', { spkiSha256: 'k' }));
  await inventory.add(entry('0b', { spkiSha256: 'k' }));
  const { spiffeId } = entry('0a');
  t.equal(inventory.newestForKey('k', spiffeId)?.serial, '0b');
  t.equal(inventory.newestForKey('k', 'spiffe://ai-teddy.local/ns/default/sa/other'), undefined);
});

t.test('one damaged file is reported and costs only itself', async (t) => {
  const directory = t.testdir();
  const inventory = await openInventory(directory, log);
  await inventory.add(entry('0a'));
  await inventory.add(entry('0b'));
  await writeFile(join(directory, '0a.json'), '{"serial":');
  await writeFile(join(directory, 'notes.txt'), 'not ours');
  const lines: string[] = [];
  const again = await openInventory(
    directory,
    createLogger({ level: 'error', stream: { write: (line) => lines.push(line) } }),
  );
  t.equal(again.size, 1);
  t.match(lines.join(''), /inventory_damaged.*0a\.json/);
});

t.test('certificates of one pod are found by it, also after a restart, until they are forgotten', async (t) => {
  const directory = t.testdir();
  const of = (uid: string) => ({ pod: { name: `web-${uid}`, uid } });
  const first = await openInventory(directory, log);
  for (const [serial, change] of [
    ['0a', of('1')],
    ['0b', of('2')],
    ['0c', of('1')],
    ['0d', {}],
  ] as const)
    await first.add(entry(serial, change));
  for (const inventory of [first, await openInventory(directory, log)]) {
    const serials = (uid: string) => inventory.ofPod(uid).map(({ serial }) => serial);
    t.same(serials('1').sort(), ['0a', '0c']);
    t.same(serials('3'), []);
    await inventory.supersede('0a', '0c', 50);
    t.match(
      inventory.ofPod('1').find(({ serial }) => serial === '0a'),
      { supersededBy: '0c' },
      'as it is now',
    );
    await inventory.forget(['0b']);
    t.same(serials('2'), []);
    await inventory.add(entry('0b', of('2')));
  }
});

t.test(
  'what is forgotten stays so whatever is noted on it meanwhile, and what could not be is known still',
  async (t) => {
    const directory = t.testdir();
    const inventory = await openInventory(directory, log);
    for (const serial of ['0a', '0b', '0c']) await inventory.add(entry(serial));
    await Promise.all([
      inventory.supersede('0a', '0b', 50),
      inventory.forget(['0a', '0b']),
      inventory.report('0a', { bundle: 'x', at: 1 }),
      inventory.report('0b', { bundle: 'x', at: 1 }),
    ]);
    for (const one of [inventory, await openInventory(directory, log)]) {
      t.same(
        one.all().map(({ serial }) => serial),
        ['0c'],
      );
    }

    await chmod(join(directory, 'keys.log'), 0o666);
    await chmod(directory, 0o555);
    await asNobody(() => t.rejects(inventory.forget(['0c']), { code: 'SL-FS-003' }));
    t.match(inventory.newest(), [{ serial: '0c' }]);
    await chmod(directory, 0o755);
    await inventory.forget(['0c']);
    t.same((await readdir(directory)).sort(), ['keys.log']);
  },
);
