import t from 'tap';
import { SECOND } from '../../../../src/base/clock.ts';
import { lastingOf } from '../../../../src/sidecar/http1/to-peer.ts';
import { createIdentityHolder } from '../../../../src/sidecar/identity.ts';
import { DEFAULT_LIMITS } from '../../../../src/sidecar/options.ts';
import { fakeClock } from '../../../support/fake-clock.ts';
import { fakeMaterial, recordingLog } from '../../../support/identity-fakes.ts';

t.test('a connection lasts while our identity does, one to a peer under another root for a moment', async (t) => {
  const clock = fakeClock();
  const identity = createIdentityHolder({ log: recordingLog().log });
  const take = (serial: string) => {
    const until = { notAfter: clock.now() + 3_600_000 };
    identity.offer({ ...fakeMaterial(serial, until), root: { fingerprint256: 'new root' } } as never);
    return identity.current();
  };
  const own = take('1');
  if (own === undefined) throw new TypeError('an identity was expected');
  const to = (root: string) => {
    const peer = { root, leaf: { notAfter: clock.now() + 3_600_000 } } as never;
    return lastingOf(
      { identity: own, peer, kind: 'own' },
      { clock, identity, limits: DEFAULT_LIMITS, random: () => 0.5 },
    );
  };
  const [same, other] = [to('new root'), to('old root')];
  t.same([same.usable?.(), other.usable?.()], [true, true]);
  await clock.advance(5 * SECOND + 1);
  t.same([same.usable?.(), other.usable?.()], [true, false], 'its next certificate is looked for');
  take('2');
  t.equal(same.usable?.(), false);
});
