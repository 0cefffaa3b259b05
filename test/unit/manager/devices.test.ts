import { EventEmitter } from 'node:events';
import t from 'tap';
import type { Authority } from '../../../src/manager/ca.ts';
import * as deviceIssuer from '../../../src/manager/device-issuer.ts';
import * as issuer from '../../../src/manager/issuer.ts';
import type { Subject } from '../../../src/manager/subject.ts';
import { inventoryEntry } from '../../support/manager/inventory-entry.ts';

/** Devices whose issuers open when the test says, under authorities that are names; the entry says who signed. */
async function devicesOf(t: Tap) {
  const opened: string[] = [];
  const opening = new EventEmitter();
  const named = (name: string) => ({ name, bundlePem: name }) as Authority;
  const mocked = await t.mockImport<typeof import('../../../src/manager/devices.ts')>(
    '../../../src/manager/devices.ts',
    {
      '../../../src/manager/device-issuer.ts': {
        ...deviceIssuer,
        openDeviceIssuer({ authority: { name } }: deviceIssuer.DeviceIssuerOptions) {
          opened.push(name);
          return new Promise((resolve, reject) =>
            opening.on(name, (fails) => (fails ? reject(new RangeError('retired')) : resolve(named(name)))),
          );
        },
      },
      '../../../src/manager/issuer.ts': {
        ...issuer,
        createIssuer: ({ authority }: issuer.IssuerOptions) => ({
          issueForService: async () => ({
            entry: inventoryEntry('0a', { pem: authority().name }),
            privateKey: Buffer.of(),
          }),
        }),
      },
    },
  );
  let now = named('old');
  const devices = mocked.createDevices({
    authority: () => now,
    subjectOf: ({ service, namespace }: Subject) => ({ service, namespace, type: 'device', additionalSans: [] }),
    issuing: {},
  } as unknown as Parameters<typeof mocked.createDevices>[0]);
  return {
    signedBy: async () => (await devices.create({ device: 'lamp' })).certificate,
    follow(name: string) {
      now = named(name);
    },
    finish: (name: string) => opening.emit(name, false),
    fail: (name: string) => opening.emit(name, true),
    opened,
  };
}

type Tap = Pick<typeof t, 'mockImport'>;

t.test('a device that waited for an issuer that was replaced meanwhile gets its certificate of the next', async (t) => {
  const { signedBy, follow, finish } = await devicesOf(t);
  const first = signedBy();
  follow('new');
  const second = signedBy();
  finish('new');
  t.equal(await second, 'new');
  finish('old');
  t.equal(await first, 'new', 'it does not go back');
  t.equal(await signedBy(), 'new');
});

t.test('an issuer that cannot be opened any more takes none of the next with it', async (t) => {
  const { signedBy, follow, finish, fail, opened } = await devicesOf(t);
  const first = signedBy();
  follow('new');
  const second = signedBy();
  fail('old');
  await t.rejects(first, RangeError);
  const third = signedBy();
  finish('new');
  t.same(await Promise.all([second, third]), ['new', 'new']);
  t.same(opened, ['old', 'new'], 'each once');
});
