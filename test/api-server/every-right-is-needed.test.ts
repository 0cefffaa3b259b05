import { strictEqual } from 'node:assert';
import t from 'tap';
import { parseAllDocuments } from 'yaml';
import { type Clock, DAY, MINUTE, systemClock } from '../../src/base/clock.ts';
import { SidelockError } from '../../src/base/errors.ts';
import { Readiness } from '../../src/base/lifecycle.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { connectKubernetes, type KubeApi } from '../../src/kubernetes/client.ts';
import { updateDeploymentWithMtls } from '../../src/kubernetes/deployments.ts';
import { createEvents } from '../../src/kubernetes/events.ts';
import { createIstioMtlsPolicy } from '../../src/kubernetes/istio.ts';
import { lead } from '../../src/kubernetes/leader.ts';
import { keepEndpoint } from '../../src/kubernetes/leader-endpoint.ts';
import { leasesOf } from '../../src/kubernetes/lease.ts';
import { signPodCertificates } from '../../src/kubernetes/pod-certificates.ts';
import { createPodReview } from '../../src/kubernetes/pod-review.ts';
import { leaderRights, managerRights, missingRights, type Right, webhookRights } from '../../src/kubernetes/rights.ts';
import { secretClient } from '../../src/kubernetes/secret-client.ts';
import { deployCertificateAsSecret } from '../../src/kubernetes/secrets.ts';
import { followServices } from '../../src/kubernetes/service-names.ts';
import { secretJournal } from '../../src/kubernetes/state-journal.ts';
import { keepTrust, publishedRoots } from '../../src/kubernetes/trust-config-map.ts';
import { type WatchNeeds, watchObject } from '../../src/kubernetes/watch.ts';
import { createWatchMetrics } from '../../src/kubernetes/watch-metrics.ts';
import { ensureAuthority } from '../../src/kubernetes/webhook-authority.ts';
import { reconcileBundle } from '../../src/kubernetes/webhook-bundle.ts';
import { followState } from '../../src/kubernetes/webhook-state.ts';
import { generateKey } from '../../src/pki/keys.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { ISTIO } from '../cluster/istio.ts';
import { askForPod, makeShop, REQUESTS, requestOf } from '../cluster/pod-requests.ts';
import { list } from '../cluster/pods.ts';
import { cli } from '../support/cli.ts';
import { openManager, recordingLog, temporaryDirectory } from '../support/manager/rig.ts';
import { until } from '../support/until.ts';

const SYSTEM = 'sidelock-system';
const WEBHOOK = 'sidelock-webhook';
const AUDIENCE = 'certificate.ai-teddy.com/ca';
const TRUST = `/api/v1/namespaces/${SYSTEM}/configmaps/sidelock-trust`;
const BUNDLE = '/apis/certificates.k8s.io/v1/clustertrustbundles/certificate.ai-teddy.com:identity:bundle';
const AUTHORITY = `/api/v1/namespaces/${SYSTEM}/secrets/sidelock-webhook-ca`;
const MERGE = { type: 'application/merge-patch+json' };
const RBAC = '/apis/rbac.authorization.k8s.io/v1';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}
interface Role {
  readonly kind: 'Role' | 'ClusterRole';
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules: readonly Rule[];
}

const pathOf = ({ kind, metadata: { name, namespace = SYSTEM } }: Role) =>
  kind === 'Role' ? `${RBAC}/namespaces/${namespace}/roles/${name}` : `${RBAC}/clusterroles/${name}`;

const rolesIn = (manifests: string) =>
  parseAllDocuments(manifests)
    .map((document) => document.toJS() as Role)
    .filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole');

/** A role, and what is left of its rules, for each verb of each rule. */
function lessons(role: Role) {
  return role.rules.flatMap((rule, at) =>
    rule.verbs.map((verb) => {
      const verbs = rule.verbs.filter((other) => other !== verb);
      const rules = role.rules.toSpliced(at, 1, ...(verbs.length === 0 ? [] : [{ ...rule, verbs }]));
      return { role, rules, verb, rule, what: `${verb} ${rule.resources.join()} ${rule.resourceNames?.join() ?? ''}` };
    }),
  );
}

/** One round of what goes on for ever: the first wait ends it. */
function oneRound() {
  const stop = new AbortController();
  const clock: Clock = {
    now: systemClock.now,
    async sleep(_, signal) {
      stop.abort();
      signal.throwIfAborted();
    },
  };
  return { clock, signal: stop.signal };
}

interface WatchedNeeds {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly watch: WatchNeeds;
}

/** Works until all that is watched is and has been done, or something is told. */
async function untilWatched(
  lines: ReadonlyArray<Record<string, unknown>>,
  resources: readonly string[],
  work: (needs: WatchedNeeds) => Promise<unknown>,
  isDone: () => Promise<boolean> = async () => true,
): Promise<void> {
  const stop = new AbortController();
  const { signal } = stop;
  const isWatched = (resource: string) =>
    lines.some((line) => line['event'] === 'watching' && line['resource'] === resource);
  const isOver = async () => lines.some(isTrouble) || (resources.every(isWatched) && (await isDone()));
  const isSeen = until(isOver, { every: 20 }).finally(() => stop.abort());
  // An open watch is listened to; what is tried again is tried soon.
  const clock = { ...systemClock, sleep: (ms, end) => systemClock.sleep(ms > MINUTE ? ms : 20, end) } satisfies Clock;
  const watch = { random: () => 0.5, metrics: createWatchMetrics(createMetrics()) };
  await Promise.all([work({ clock, signal, watch }), isSeen]);
}

const isTrouble = (line: Record<string, unknown>) =>
  Number(line['level']) >= 40 && line['event'] !== 'pod_address_differs';

/** Lines of level warn and above are what went wrong where nobody could be told otherwise. */
function listening() {
  const { log, lines } = recordingLog();
  const check = () => {
    const wrong = lines.findLast(isTrouble);
    const cause = wrong?.['err'] as { readonly why?: string } | undefined;
    const why = String(wrong?.['why'] ?? cause?.why ?? '');
    if (wrong !== undefined) throw new SidelockError('SL-KUBE-002', String(wrong['msg']), { why });
  };
  return { log, lines, check };
}

/** All that the manager writes and asks: a pod by token, a pod by kubelet, its roots made and changed. */
async function managerWork(api: KubeApi, server: ApiServer, uid: string, round: number): Promise<void> {
  const { log, lines, check } = listening();
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'orders-1', uid };
  const token = await server.tokenOf('shop', 'orders', { audiences: [AUDIENCE], boundObjectRef });
  const { dnsNames } = await createPodReview(api, log)(token, '127.0.0.1');
  strictEqual(dnsNames.length, 2);
  await server.ask('DELETE', TRUST);
  await server.ask('DELETE', BUNDLE);
  for (const { pem } of [manager.trustBundle(), other.trustBundle()]) {
    const trust = { api, namespace: SYSTEM, clusterTrustBundle: true, bundle: () => pem, log };
    await untilWatched(lines, ['configmaps', 'clustertrustbundles'], (needs) => keepTrust({ ...trust, ...needs }));
    check();
  }
  const name = `round-${round}`;
  await askForPod(server, name, requestOf(await generateKey('ecdsa-p256')), uid);
  const signer = { api, certify: manager.certifyPod, validityMs: DAY, log };
  const sign = (needs: WatchedNeeds) => signPodCertificates({ ...signer, ...needs });
  await untilWatched(lines, ['podcertificaterequests'], sign, async () => {
    const { status } = (await server.must('GET', `${REQUESTS}/${name}`)) as { status?: { conditions?: object[] } };
    return status?.conditions !== undefined;
  });
  check();
  const names = { certificates: () => [], renewEarly: () => {} };
  await untilWatched(lines, ['services'], (needs) => followServices({ ...names, api, log, ...needs }));
  check();
}

/** All that the webhook writes and asks: its CA made and made anew, its bundle, the roots, an Event. */
async function webhookWork(api: KubeApi, server: ApiServer): Promise<void> {
  const { log, lines, check } = listening();
  await server.ask('DELETE', AUTHORITY);
  const published = { metadata: { name: 'sidelock-trust' }, data: { 'ca.crt': manager.trustBundle().pem } };
  await server.ask('POST', `/api/v1/namespaces/${SYSTEM}/configmaps`, published);
  const secrets = secretClient(api);
  await ensureAuthority({ secrets, namespace: SYSTEM, clock: systemClock });
  const settings = { service: WEBHOOK, configuration: WEBHOOK, trustDomain: 'ai-teddy.local', serve: () => {} };
  const state = { ...settings, api, namespace: SYSTEM, readiness: new Readiness(), log };
  const watched = ['mutatingwebhookconfigurations', 'secrets', 'configmaps'];
  await untilWatched(lines, watched, (needs) => followState({ ...state, ...needs }).ended);
  check();
  const later = { ...systemClock, now: () => systemClock.now() + 300 * DAY };
  const { bundle } = await ensureAuthority({ secrets, namespace: SYSTEM, clock: later });
  strictEqual(await reconcileBundle(api, WEBHOOK, bundle), 'written');
  strictEqual((await publishedRoots(api, SYSTEM)).length, 1);
  const events = createEvents({ api, clock: systemClock, log });
  const owner = { apiVersion: 'v1', kind: 'Pod', name: 'orders-1', uid: 'u' };
  events.tell({ namespace: 'shop', owner, reason: 'InjectionRefused', message: 'a test' });
  await events.ended();
  check();
}

/** All that a leader writes and asks besides: the Lease taken and kept, its endpoint, the state in Secrets. */
async function leaderWork(api: KubeApi, server: ApiServer, round: number): Promise<void> {
  const { log, lines, check } = listening();
  const clock = systemClock;
  const name = 'sidelock-manager';
  await server.ask('DELETE', `/apis/coordination.k8s.io/v1/namespaces/${SYSTEM}/leases/${name}`);
  await server.ask('DELETE', `/apis/discovery.k8s.io/v1/namespaces/${SYSTEM}/endpointslices/${name}`);
  await server.ask('DELETE', `/api/v1/namespaces/${SYSTEM}/secrets`);
  const candidate = { namespace: SYSTEM, name, identity: `round-${round}`, durationMs: 1_000 };
  for (const _ of ['made', 'taken again']) {
    const election = { api, candidate, clock, monotonic: () => performance.now(), random: () => 0, log };
    const term = await lead(election, AbortSignal.timeout(1_500)).catch(() => undefined);
    await term?.[Symbol.asyncDispose]();
    if (term === undefined) check();
  }
  const lease = { resource: 'leases', path: leasesOf(SYSTEM), name } as const;
  await untilWatched(lines, ['leases'], ({ watch, ...needs }) => {
    return watchObject(lease, { ...watch, ...needs, api, log, onChange: () => {} }).ended;
  });
  check();
  for (const address of ['10.0.0.1', '10.0.0.2']) {
    await keepEndpoint({ api, namespace: SYSTEM, address, port: 9443, holds: () => true, log, ...oneRound() });
    check();
  }
  let lost = true;
  const losing: KubeApi = {
    ...api,
    async create(path, object) {
      const made = await api.create(path, object);
      if (!lost) return made;
      lost = false;
      return undefined;
    },
  };
  const signal = AbortSignal.timeout(10_000);
  // A refusal is repeated before it is believed: without waiting here.
  const hurried = { ...clock, sleep: async () => {} };
  const writer = { namespace: SYSTEM, identity: 'us', holds: () => true };
  const journal = secretJournal({ ...writer, api: losing, clock: hurried, log, signal });
  await journal.open();
  await journal.append([{ kind: 'file', path: 'a.key', data: 'secret', mode: 0o600 }]);
  await journal.append([{ kind: 'gone', path: 'a.key' }]);
  await journal.tidy();
}

let manager: Awaited<ReturnType<typeof openManager>>;
let other: Awaited<ReturnType<typeof openManager>>;

t.test('with its rights all works, without any one of them something does not, and says what is missing', async (t) => {
  const server = await startApiServer(t);
  manager = await openManager(await temporaryDirectory(t), systemClock);
  other = await openManager(await temporaryDirectory(t), systemClock);
  t.teardown(() => Promise.all([manager[Symbol.asyncDispose](), other[Symbol.asyncDispose]()]).then(() => {}));
  const printed = (await cli(['install', '--pod-certificates', '--integrate', 'shop'])).stdout;
  const uid = await makeShop(server);
  await server.kubectl(['apply', '-f', '-'], printed);
  const all = rolesIn(printed);
  const roles = all.filter(({ metadata: { namespace = SYSTEM } }) => namespace === SYSTEM);
  t.equal(roles.length, 4);
  let round = 0;

  const accounts: Array<[string, readonly Right[], (api: KubeApi) => Promise<void>]> = [
    [
      'sidelock-manager',
      managerRights({ namespace: SYSTEM, podCertificates: true }),
      (api) => managerWork(api, server, uid, round++),
    ],
    [WEBHOOK, webhookRights(SYSTEM, WEBHOOK), (api) => webhookWork(api, server)],
  ];
  const proven = new Set<string>();
  const prove = async ([account, rights, work]: (typeof accounts)[number], printedRoles: readonly Role[]) => {
    process.env['KUBECONFIG'] = server.kubeconfig({ token: await server.tokenOf(SYSTEM, account) });
    const api = await connectKubernetes();
    const own = printedRoles
      .filter(({ metadata: { name } }) => name === account)
      .flatMap(lessons)
      .filter(({ what }) => !proven.has(`${account} ${what}`));
    t.equal(own.length, rights.length, `${account} looks at its start for each right that it has`);
    await work(api);
    t.pass(`${account} does all it does with ${own.length} rights`);
    for (const { role, rules, verb, rule, what } of own) {
      proven.add(`${account} ${what}`);
      const set = (value: readonly Rule[]) => server.must('PATCH', pathOf(role), { rules: value }, MERGE);
      await set(rules);
      let missing: string[] = [];
      await until(async () => {
        missing = await missingRights(api, rights);
        return missing.length > 0;
      });
      const failure = await work(api).then(
        () => undefined,
        (error: unknown) => error,
      );
      t.match(
        failure,
        { code: 'SL-KUBE-002', why: new RegExp(`${verb}[\\s\\S]*${rule.resources[0]}|not permitted`) },
        what,
      );
      t.match(missing, [new RegExp(`^${verb} ${rule.resources[0]}`)], `and the start says so: ${missing.join()}`);
      await set(role.rules);
      await until(async () => (await missingRights(api, rights)).length === 0);
    }
  };
  for (const one of accounts) await prove(one, roles);

  const shared = (await cli(['install', '--pod-certificates', '--state', 'secrets'])).stdout;
  const leading = rolesIn(shared).filter(({ kind }) => kind === 'Role');
  for (const role of leading) await server.must('PATCH', pathOf(role), { rules: role.rules }, MERGE);
  await prove(['sidelock-manager', leaderRights(SYSTEM, true), (api) => leaderWork(api, server, round++)], leading);
});

t.test(
  'in the namespaces named for it the manager writes what the guide says, with each of these rights',
  async (t) => {
    const server = await startApiServer(t);
    await server.kubectl(['apply', '-f', '-'], list(ISTIO));
    for (const { spec } of ISTIO) {
      const { group, names } = spec;
      await until(async () => (await server.ask('GET', `/apis/${group}/v1/${names.plural}`)).status === 200);
    }
    for (const name of ['shop', 'ops']) await server.must('POST', '/api/v1/namespaces', { metadata: { name } });
    const printed = (await cli(['install', '--integrate', 'shop'])).stdout;
    await server.kubectl(['apply', '-f', '-'], printed);
    const labels = { app: 'orders' };
    const containers = [{ name: 'app', image: 'app:1' }];
    await server.must('POST', '/apis/apps/v1/namespaces/shop/deployments', {
      metadata: { name: 'orders' },
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
    });
    process.env['KUBECONFIG'] = server.kubeconfig({ token: await server.tokenOf(SYSTEM, 'sidelock-manager') });
    const api = await connectKubernetes();
    const work = async (namespace = 'shop') => {
      const secret = { service: 'orders', namespace, key: 'k', ca: 'c' };
      await server.ask('DELETE', `/api/v1/namespaces/${namespace}/secrets/orders-mtls-certs`);
      for (const { spec } of ISTIO) {
        await server.ask('DELETE', `/apis/${spec.group}/v1/namespaces/${namespace}/${spec.names.plural}/orders-mtls`);
      }
      const outcomes = [];
      for (const cert of ['first', 'second']) {
        outcomes.push((await deployCertificateAsSecret(secretClient(api), { ...secret, cert }, {})).outcome);
        await updateDeploymentWithMtls(api, { service: 'orders', namespace });
        const { changes } = await createIstioMtlsPolicy(api, { service: 'orders', namespace });
        outcomes.push(...changes.map(({ outcome }) => outcome));
      }
      strictEqual(outcomes.join(), 'created,created,created,updated,unchanged,unchanged');
    };
    // Discovery and authorisation hear of new kinds and roles a moment later.
    await until(() =>
      work().then(
        () => true,
        () => false,
      ),
    );
    await t.rejects(work('ops'), { code: 'SL-KUBE-002', why: /secrets/ }, 'nowhere else');
    const role = rolesIn(printed).find(({ metadata: { namespace } }) => namespace === 'shop');
    if (role === undefined) throw new Error('no role');
    const all = lessons(role);
    t.equal(all.length, 11);
    for (const { rules, verb, rule, what } of all) {
      const [group = ''] = rule.apiGroups;
      const [resource = ''] = rule.resources;
      const right = { verb, resource, namespace: 'shop', ...(group === '' ? {} : { group }) };
      const set = (value: readonly Rule[]) => server.must('PATCH', pathOf(role), { rules: value }, MERGE);
      await set(rules);
      await until(async () => (await missingRights(api, [right])).length > 0);
      await t.rejects(work(), { code: 'SL-KUBE-002', why: new RegExp(`${verb}[\\s\\S]*${resource}`) }, what);
      await set(role.rules);
      await until(async () => (await missingRights(api, [right])).length === 0);
    }
  },
);
