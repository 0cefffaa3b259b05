import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { DAY, systemClock } from '../../../src/base/clock.ts';
import type { Secret, SecretClient } from '../../../src/kubernetes/secret-client.ts';
import { ensureAuthority, issueServing } from '../../../src/kubernetes/webhook-authority.ts';
import { certificatesFromPem } from '../../../src/pki/certificate.ts';
import { shiftedClock } from '../../support/manager/rig.ts';

const NAMESPACE = 'sidelock-system';

/** One Secret with the rules of the API server for who wins. */
function oneSecret() {
  let kept: Secret | undefined;
  let version = 0;
  const secrets: SecretClient = {
    read: async () => kept,
    async create(secret) {
      if (kept !== undefined) return false;
      kept = { ...secret, resourceVersion: String(++version) };
      return true;
    },
    async replace(secret) {
      if (kept === undefined || kept.resourceVersion !== secret.resourceVersion) return false;
      kept = { ...secret, resourceVersion: String(++version) };
      return true;
    },
  };
  return {
    secrets,
    edit(change: Partial<Secret> | undefined) {
      kept =
        kept === undefined || change === undefined
          ? undefined
          : { ...kept, ...change, resourceVersion: String(++version) };
    },
    kept: () => kept,
  };
}

const idOf = ({ signer }: Awaited<ReturnType<typeof ensureAuthority>>) => signer.certificate.fingerprint256;

t.test('replicas that start at once end with one CA', async (t) => {
  const { secrets } = oneSecret();
  const all = await Promise.all(
    [1, 2, 3].map(() => ensureAuthority({ secrets, namespace: NAMESPACE, clock: systemClock })),
  );
  t.equal(new Set(all.map(idOf)).size, 1);
  const [authority] = all;
  if (authority === undefined) return;
  const names = { service: 'sidelock-webhook', namespace: NAMESPACE, trustDomain: 'ai-teddy.local' };
  const leaf = new X509Certificate((await issueServing(authority, names, systemClock.now())).cert);
  t.match(leaf.subjectAltName, /DNS:sidelock-webhook\.sidelock-system\.svc/);
  t.ok(leaf.verify(new X509Certificate(authority.bundle).publicKey));
});

t.test('a new CA comes before the end of the old one, and both are trusted meanwhile', async (t) => {
  const { secrets } = oneSecret();
  const clock = shiftedClock();
  const first = await ensureAuthority({ secrets, namespace: NAMESPACE, clock });
  clock.shift(200 * DAY);
  t.equal(idOf(await ensureAuthority({ secrets, namespace: NAMESPACE, clock })), idOf(first), 'not yet');
  clock.shift(60 * DAY);
  const [second, other] = await Promise.all(
    [1, 2].map(() => ensureAuthority({ secrets, namespace: NAMESPACE, clock })),
  );
  if (second === undefined || other === undefined) return;
  t.equal(idOf(second), idOf(other));
  t.same(
    certificatesFromPem(second.bundle, 'bundle').map(({ fingerprint256 }) => fingerprint256),
    [idOf(second), idOf(first)],
  );
  clock.shift(120 * DAY);
  t.same(
    certificatesFromPem((await ensureAuthority({ secrets, namespace: NAMESPACE, clock })).bundle, 'bundle').length,
    1,
    'what is out of date is dropped',
  );
});

t.test('a Secret that was deleted or damaged is made anew; one of somebody else is left alone', async (t) => {
  const { secrets, edit, kept } = oneSecret();
  const ensure = () => ensureAuthority({ secrets, namespace: NAMESPACE, clock: systemClock });
  const first = await ensure();
  edit(undefined);
  const second = await ensure();
  t.not(idOf(second), idOf(first));
  for (const [key, value] of [
    ['tls.key', 'junk'],
    ['tls.crt', first.bundle],
    ['ca.crt', ''],
  ] as const) {
    const before = await ensure();
    edit({ data: { ...kept()?.data, [key]: value } });
    t.not(idOf(await ensure()), idOf(before), key);
  }
  edit({ labels: {} });
  const mine = kept();
  await t.rejects(ensure(), { code: 'SL-KUBE-003' });
  t.equal(kept(), mine);
});
