import t from 'tap';
import { createLogger } from '../../../src/base/log.ts';
import type { ByProof } from '../../../src/manager/by-proof.ts';
import { createEnrolment } from '../../../src/manager/enrolment.ts';
import { openInventory } from '../../../src/manager/inventory.ts';
import type { Issuer } from '../../../src/manager/issuer.ts';
import { fakeClock, settle } from '../../support/fake-clock.ts';
import { inventoryEntry } from '../../support/manager/inventory-entry.ts';

t.test('of a pod that asks with several keys at once one certificate counts, and none was used twice', async (t) => {
  const inventory = await openInventory(t.testdir(), createLogger({ level: 'silent' }));
  let signed = 0;
  const podIssuer: Issuer = {
    issueForService: () => Promise.reject(new Error('not asked')),
    async signCsr({ pod }) {
      const entry = inventoryEntry(`0${++signed}`, pod === undefined ? {} : { pod });
      await inventory.add(entry);
      // Whoever signs at the same time is so far now too.
      await settle();
      return entry;
    },
  };
  const proof: Pick<ByProof, 'audited'> = { audited: async (_, work) => await work() };
  const never = () => Promise.reject(new Error('not asked'));
  const enrolment = createEnrolment({
    proof: { ...proof, byToken: never, byLeaf: never },
    ...{ issuer: podIssuer, podIssuer, inventory, reviewPod: undefined, clock: fakeClock() },
  });
  const pod = { namespace: 'shop', serviceAccount: 'web', pod: 'web-1', uid: '1', dnsNames: [] };
  const certify = (uid: string) => enrolment.certifyPod({ pod: { ...pod, uid }, csr: '', validityMs: 1 });
  await certify('1');
  await Promise.all([certify('1'), certify('2'), certify('1'), certify('1')]);
  const ofPod = inventory.ofPod('1');
  t.equal(ofPod.length, 4);
  t.equal(ofPod.filter(({ supersededBy }) => supersededBy === undefined).length, 1);
  t.same(
    ofPod.flatMap(({ reusedAt }) => reusedAt ?? []),
    [],
  );
});
