import { createPublicKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { MINUTE } from '../../src/base/clock.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { createCsr } from '../../src/pki/csr.ts';
import { issueLeaf } from '../../src/pki/issue.ts';
import { generateKey, privateKeyFromPem } from '../../src/pki/keys.ts';
import { verifyPeer } from '../../src/pki/peer.ts';
import { cli } from '../support/cli.ts';
import { startRig } from '../support/manager/rig.ts';
import { startEnrolled } from '../support/manager/sidecar.ts';
import { until } from '../support/until.ts';

/** A hundred (`npm run soak:compromise`) take half a minute, all but the drill itself: they enrol. */
const SIDECARS = process.env['SIDELOCK_SOAK'] === '1' ? 100 : 25;
const AT_ONCE = 10;

t.test(
  `F24 the key of the CA is stolen: ${SIDECARS} sidecars have another root and certificate within minutes`,
  async (t) => {
    const rig = await startRig(t);
    const { manager, storage } = rig;
    const names = Array.from({ length: SIDECARS }, (_, i) => `service-${i}`);
    const all: Array<Awaited<ReturnType<typeof startEnrolled>>['sidecar']> = [];
    for (let i = 0; i < SIDECARS; i += AT_ONCE) {
      const started = names.slice(i, i + AT_ONCE).map((name) => startEnrolled(t, rig, name, {}));
      all.push(...(await Promise.all(started)).map(({ sidecar }) => sidecar));
    }
    const before = all.map((sidecar) => sidecar.identity()?.serial);
    const ca = join(storage, '.sidelock/ca');
    const [certificate] = certificatesFromPem(await readFile(join(ca, 'root.crt')), 'root.crt');
    if (certificate === undefined) throw new TypeError('a root was expected');
    const key = privateKeyFromPem(await readFile(join(ca, 'root.key')), 'root.key');
    const thief = await generateKey('ecdsa-p256');
    const { der } = issueLeaf({
      ...{ signer: { certificate, key }, publicKey: createPublicKey(thief), now: rig.clock.now() },
      ...{ spiffeId: 'spiffe://ai-teddy.local/ns/default/sa/service-0', sans: [], validityMs: 60 * MINUTE },
    });
    const refusedBy = (sidecar: (typeof all)[number]) => {
      const bundle = sidecar.identity()?.material.bundle;
      if (bundle === undefined) throw new TypeError('an identity was expected');
      const now = rig.clock.now();
      return verifyPeer({ chain: [der], bundle, now, purpose: 'client', trustDomain: 'ai-teddy.local' });
    };
    t.ok(
      all.every((sidecar) => refusedBy(sidecar).ok),
      'until then nobody can tell the thief from service-0',
    );

    const began = performance.now();
    t.match(await cli(['trust', 'compromise', '--yes', '--storage', storage]), { code: 0, stdout: /compromised/ });
    const done = (sidecar: (typeof all)[number], i: number) =>
      sidecar.identity()?.serial !== before[i] && sidecar.identity()?.material.bundle.roots.length === 1;
    await until(() => manager.trust.phase() === 'steady' && all.every(done));
    const seconds = (performance.now() - began) / 1000;
    t.comment(`F24 ${SIDECARS} sidecars: new root, new certificates, the old root gone after ${seconds.toFixed(1)} s`);

    t.match(
      all.map(refusedBy),
      Array(SIDECARS).fill({ ok: false, reason: 'chain_incomplete' }),
      'the old root is refused',
    );
    t.notOk(existsSync(join(ca, 'root.key')), 'its key is destroyed');
    const csr = createCsr(await generateKey('ecdsa-p256'), 'service-0');
    await t.rejects(
      manager.renew({ chain: [der], csr, remote: 'thief' }),
      { code: 'SL-API-002' },
      'what it forged renews nothing',
    );
    await until(async () => {
      const { sidecars, roots } = await manager.trust.status();
      return sidecars.confirmed === SIDECARS && roots.at(-1)?.certificates === SIDECARS;
    });
    t.match(await manager.trust.status(), {
      roots: [{ state: 'gone', certificates: 0 }, { state: 'signs' }],
      lacking: [],
    });
  },
);
