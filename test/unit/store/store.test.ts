import { join } from 'node:path';
import t from 'tap';
import { systemClock as clock } from '../../../src/base/clock.ts';
import { openFileStore } from '../../../src/store/file-store.ts';
import type { CertStore } from '../../../src/store/store.ts';
import { recordingLogger } from '../../support/store/log-lines.ts';
import { trio } from '../../support/store/trio.ts';

const { log } = recordingLogger();
const STORES: ReadonlyArray<readonly [string, (directory: string) => Promise<CertStore>]> = [
  ['file', (directory) => openFileStore({ path: join(directory, 'storage'), clock, log, repairModes: true })],
];

for (const [name, open] of STORES) {
  t.test(`${name} store`, async (t) => {
    t.test('what was saved is loaded, listed, replaced and deleted', async (t) => {
      const store = await open(t.testdir());
      t.equal(await store.load('orders'), undefined);
      t.strictSame(await store.list(), []);
      const first = trio();
      await store.save('orders', first);
      await store.save('billing', trio());
      const loaded = await store.load('orders');
      t.match(loaded, { serviceName: 'orders', certificate: first.certificate, privateKey: first.privateKey });
      t.equal(loaded?.leaf.der.equals(first.leaf.der), true);
      t.equal(Object.isFrozen(loaded), true);
      t.strictSame(await store.list(), ['billing', 'orders']);
      const second = trio();
      await store.save('orders', second);
      t.equal((await store.load('orders'))?.leaf.der.equals(second.leaf.der), true);
      t.equal(await store.delete('orders'), true);
      t.equal(await store.delete('orders'), false);
      t.equal(await store.load('orders'), undefined);
      t.strictSame(await store.list(), ['billing']);
    });

    t.test('a name that is not one of a service never becomes a path', async (t) => {
      const store = await open(t.testdir());
      for (const bad of ['', '.', '..', '../etc', 'a/b', '/etc', '.sidelock', 'Orders', 'a\0b', 'a'.repeat(64), '-a']) {
        const refused = { code: 'SL-NAME-002' };
        await t.rejects(store.load(bad), refused, JSON.stringify(bad));
        await t.rejects(store.save(bad, trio()), refused);
        await t.rejects(store.delete(bad), refused);
      }
    });

    t.test('what is no certificate is not saved', async (t) => {
      const store = await open(t.testdir());
      const good = trio();
      await store.save('orders', good);
      const swapped = { ...good, certificate: good.privateKey, privateKey: good.certificate };
      await t.rejects(store.save('orders', swapped), { code: 'SL-PEM-002' });
      await t.rejects(store.save('orders', { ...good, certificate: Buffer.alloc(0) }), { code: 'SL-PEM-001' });
      t.strictSame((await store.load('orders'))?.certificate, good.certificate);
    });
  });
}
