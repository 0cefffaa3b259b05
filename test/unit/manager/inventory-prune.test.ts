import { readdir } from 'node:fs/promises';
import t from 'tap';
import { DAY, HOUR } from '../../../src/base/clock.ts';
import { createLogger } from '../../../src/base/log.ts';
import { type InventoryEntry, openInventory } from '../../../src/manager/inventory.ts';
import { pruneInventory } from '../../../src/manager/inventory-prune.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import { until } from '../../support/until.ts';

const log = createLogger({ level: 'silent' });

t.test('what ended long ago goes from memory and disk, and its key still has an owner', async (t) => {
  const clock = fakeClock();
  const now = clock.now();
  const directory = t.testdir();
  const inventory = await openInventory(directory, log);
  const add = (serial: string, service: string, ended: number, more: Partial<InventoryEntry> = {}) =>
    inventory.add({
      ...{ serial, service, namespace: 'default', type: 'api_service', sans: [], additionalSans: [] },
      ...{ spiffeId: `spiffe://ai-teddy.local/ns/default/sa/${service}`, notBefore: 1, notAfter: now - ended },
      ...{ keyType: 'ecdsa-p256', spkiSha256: `key-${serial}`, issuedAt: Number.parseInt(serial, 16), by: 'pod' },
      ...{ fingerprint256: serial, pem: 'PEM', ...more },
    });
  await add('0a', 'orders', 9 * DAY);
  await add('0b', 'orders', 7 * DAY);
  await add('0c', 'orders', -DAY);
  await add('1a', 'gone', 80 * DAY);
  await add('1b', 'long-gone', 92 * DAY);
  await add('1c', 'kept', 400 * DAY, { kept: true, by: 'generate' });
  const serials = async () => (await readdir(directory)).filter((file) => file.endsWith('.json')).sort();

  const stop = new AbortController();
  const pruning = pruneInventory({ inventory, graceMs: DAY, clock, log, signal: stop.signal });
  t.teardown(() => pruning);
  t.teardown(() => stop.abort());
  await clock.advance(HOUR);
  t.equal(inventory.size, 6, 'nothing at the first look: the clock may be wrong');
  await clock.advance(6 * HOUR);
  await until(() => inventory.size === 4);
  await until(async () => (await serials()).length === 4);
  t.same(await serials(), ['0b.json', '0c.json', '1a.json', '1c.json']);
  t.same(
    inventory
      .newest()
      .map(({ service }) => service)
      .sort(),
    ['gone', 'kept', 'orders'],
  );
  const again = await openInventory(directory, log);
  for (const one of [inventory, again]) {
    t.equal(one.ownerOfKey('key-0a'), 'spiffe://ai-teddy.local/ns/default/sa/orders', 'M9 the key stays its own');
    t.equal(one.get('0a'), undefined);
  }
});
