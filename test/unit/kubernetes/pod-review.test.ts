import t from 'tap';
import { createLogger } from '../../../src/base/log.ts';
import type { Json } from '../../../src/kubernetes/names.ts';
import { createPodReview } from '../../../src/kubernetes/pod-review.ts';
import { recordingLog } from '../../support/manager/rig.ts';

/** What the cluster of test/cluster/pods-enrol-by-token.test.ts answers; here only what a real one would not. */
const GOOD: Json = {
  authenticated: true,
  audiences: ['certificate.ai-teddy.com/ca'],
  user: {
    username: 'system:serviceaccount:shop:orders',
    groups: ['system:serviceaccounts', 'system:serviceaccounts:shop'],
    extra: { 'authentication.kubernetes.io/pod-name': ['orders-1'], 'authentication.kubernetes.io/pod-uid': ['u1'] },
  },
};
const POD: Json = {
  metadata: { name: 'orders-1', uid: 'u1', labels: { app: 'orders', tier: 'back' } },
  spec: { serviceAccountName: 'orders' },
  status: { phase: 'Running', podIPs: [{ ip: '10.1.2.3' }] },
};
const service = (name: string, spec: Json): Json => ({ metadata: { name }, spec });

function review(
  status: Json,
  pod: Json | undefined = POD,
  services: readonly Json[] = [],
  log = createLogger({ level: 'silent' }),
) {
  const api = {
    create: async () => ({ status }),
    get: async (path: string) => (path.includes('/services?') ? { items: services } : pod),
  };
  return createPodReview(api, log)('a.b.c', '::ffff:10.1.2.3');
}

t.test('names are those of the Services that select the pod, in spellings that mean one thing', async (t) => {
  const proven = await review(GOOD, POD, [
    service('orders', { selector: { app: 'orders' } }),
    service('all-of-back', { selector: { tier: 'back', app: 'orders' }, clusterIP: 'None' }),
    service('web', { selector: { app: 'web' } }),
    service('half', { selector: { app: 'orders', tier: 'front' } }),
    service('empty', { selector: {} }),
    service('without', {}),
    service('outside', { type: 'ExternalName', selector: { app: 'orders' } }),
  ]);
  t.match(proven, { namespace: 'shop', serviceAccount: 'orders', pod: 'orders-1', uid: 'u1' });
  t.same(proven.dnsNames, [
    'all-of-back.shop.svc',
    'all-of-back.shop.svc.cluster.local',
    'orders.shop.svc',
    'orders.shop.svc.cluster.local',
  ]);
});

t.test('an answer that says less than yes is no', async (t) => {
  const user = GOOD['user'] as Json;
  const rows: Array<[string, Json, RegExp]> = [
    ['not authenticated', { ...GOOD, authenticated: false }, /does not take it/],
    ['nothing said', {}, /does not take it/],
    ['an error beside a yes', { ...GOOD, error: 'odd' }, /odd/],
    ['an API server that knows no audiences', { ...GOOD, audiences: undefined }, /audience/],
    ['another audience', { ...GOOD, audiences: ['https://kubernetes.default.svc'] }, /audience/],
    ['a user', { ...GOOD, user: { ...user, username: 'admin' } }, /not that of a ServiceAccount/],
    ['a name alone', { ...GOOD, user: { ...user, groups: ['system:authenticated'] } }, /not that of a ServiceAccount/],
    ['no pod', { ...GOOD, user: { ...user, extra: {} } }, /not bound to a pod/],
  ];
  for (const [name, status, why] of rows) await t.rejects(review(status), { code: 'SL-POD-001', why }, name);
});

t.test('a pod that is not the one of the token gets nothing', async (t) => {
  const metadata = POD['metadata'] as Json;
  const rows: Array<[string, Json | undefined, RegExp]> = [
    ['another of its name', { ...POD, metadata: { ...metadata, uid: 'u2' } }, /another pod/],
    ['another account', { ...POD, spec: { serviceAccountName: 'web' } }, /does not run as orders/],
    ['ending', { ...POD, metadata: { ...metadata, deletionTimestamp: '2026-11-24T00:00:00Z' } }, /being deleted/],
    ['done', { ...POD, status: { phase: 'Succeeded' } }, /Succeeded/],
  ];
  for (const [name, pod, why] of rows) await t.rejects(review(GOOD, pod), { code: 'SL-POD-002', why }, name);
});

t.test('an address that is not the pod’s is told, not refused: it may be translated on the way', async (t) => {
  const { log, lines } = recordingLog();
  await review(GOOD, POD, [], log);
  t.same(lines, []);
  await review(GOOD, { ...POD, status: { phase: 'Pending' } }, [], log);
  t.match(lines, [{ event: 'pod_address_differs', pod: 'shop/orders-1' }]);
});
