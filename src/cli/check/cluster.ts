import { grantOf, type Right, rightInWords } from '../../kubernetes/rights.ts';
import { type CheckId, type Finding, fault, ok, orOk } from './finding.ts';

/** One pod that should have a sidecar, or has one. */
export interface PodFacts {
  /** `NAMESPACE/NAME` */
  readonly name: string;
  readonly sidecar: 'ready' | 'not-ready' | 'missing';
  /** Why there is none, as injection says it; undefined where it would be injected now. */
  readonly refusal: { readonly why: string; readonly fix: string } | undefined;
  readonly permissive: boolean;
}

export interface ClusterFacts {
  readonly namespace: string;
  /** `v1.36.1` */
  readonly version: string;
  /** Rights to install that we do not have; of `--pre` only. */
  readonly missingRights: readonly string[];
  /** Rights to look that we do not have, each with the check that is not made for it. */
  readonly unread: ReadonlyArray<{ readonly right: Right; readonly lost: CheckId }>;
  /** Names of webhooks of other meshes. */
  readonly meshes: readonly string[];
  /** Undefined where sidelock is not installed. */
  readonly webhook:
    | undefined
    | {
        /** Whether each webhook of the configuration carries the CA of the Secret; undefined where that is not for us to read. */
        readonly bundle: boolean | undefined;
        /** How many replicas its Service finds. */
        readonly endpoints: number;
      };
  /** Labelled for injection, with what Pod Security demands of their pods, and what became of a pod that was tried there. */
  readonly namespaces: ReadonlyArray<{
    readonly name: string;
    readonly enforce: string;
    readonly trial: 'injected' | 'without' | { readonly refused: string } | undefined;
  }>;
  /** Roots in the ConfigMap that pods get theirs from. */
  readonly publishedRoots: number;
  readonly pods: readonly PodFacts[];
  /** Services that lead to the port of an app beside a sidecar. */
  readonly bypasses: ReadonlyArray<{ readonly name: string; readonly port: number; readonly instead: number }>;
}

/** Native sidecars are on by default from here on. */
const MIN_MINOR = 29;

/** What has to be right before `sidelock install`. */
export function checkClusterBefore(facts: ClusterFacts): Finding[] {
  const lost = lostIn(facts);
  const all = [version(facts), ...rights(facts), ...meshes(facts), ...psa(facts)];
  return [...all.filter(({ id, status }) => status !== 'ok' || !lost.has(id)), ...unknown(facts)];
}

/** What is installed, and the pods. */
export function checkCluster(facts: ClusterFacts): Finding[] {
  const all = [version(facts), ...meshes(facts), ...psa(facts), ...webhook(facts), ...pods(facts)];
  const lost = lostIn(facts);
  // What nothing is known of is not well, and not ill.
  return [...all.filter(({ id, status }) => status !== 'ok' || !lost.has(id)), ...looking(facts)];
}

/** Checks that cannot say that all is well. */
function lostIn({ unread }: ClusterFacts): ReadonlySet<CheckId> {
  return new Set(unread.flatMap(({ lost }) => [lost, ...(LOST_WITH[lost] ?? [])]));
}

const ABOUT_PODS = ['cluster.pods', 'cluster.sidecars', 'cluster.plaintext'] as const;
const LOST_WITH: Readonly<Partial<Record<CheckId, readonly CheckId[]>>> = {
  'cluster.meshes': ['cluster.webhook'],
  'cluster.psa': ABOUT_PODS,
  'cluster.pods': ABOUT_PODS,
};

/** What is in the way of nobody who installs, but is not known to be well. */
function unknown({ unread }: ClusterFacts): readonly Finding[] {
  return unread.map(({ right, lost }) =>
    fault(lost, 'warning', `not known: you may not ${rightInWords(right)}`, {
      why: TO_ADD,
      fix: grantOf(right),
    }),
  );
}

const TO_ADD = 'an administrator can add the right; kubectl auth whoami says who you are';

function looking({ unread }: ClusterFacts): readonly Finding[] {
  return orOk(
    unread.map(({ right, lost }) => {
      // The Secret holds the key of the webhook: few may read it, and all else can be seen without.
      const status = lost === 'cluster.bundle' ? 'info' : 'error';
      return fault('cluster.rights', status, `you may not ${rightInWords(right)}`, {
        why: `${lost} is not checked, or in part; ${TO_ADD}`,
        fix: grantOf(right),
      });
    }),
    'cluster.rights',
    'you may read all that is checked',
  );
}

function version({ version }: ClusterFacts): Finding {
  const minor = Number(/^v1\.(\d+)/.exec(version)?.[1] ?? 0);
  if (minor >= MIN_MINOR) return ok('cluster.version', `Kubernetes ${version}`);
  const remedy = { why: 'sidecars are init containers that go on running', fix: `upgrade to 1.${MIN_MINOR} or newer` };
  return fault('cluster.version', 'error', `Kubernetes ${version} has no native sidecars`, remedy);
}

function rights({ missingRights, namespace }: ClusterFacts): readonly Finding[] {
  const fix = 'install as an administrator of the cluster';
  return orOk(
    missingRights.map((right) => fault('cluster.rights', 'error', `you may not ${right}`, { fix })),
    'cluster.rights',
    `you may install into ${namespace}`,
  );
}

function meshes({ meshes }: ClusterFacts): readonly Finding[] {
  const why = 'a pod with its sidecar gets none of ours';
  const fix = 'label a namespace for one of the two, not for both';
  return orOk(
    meshes.map((name) => fault('cluster.meshes', 'info', `another mesh injects here: ${name}`, { why, fix })),
    'cluster.meshes',
    'no other mesh injects here',
  );
}

const LEVELS = ['', 'privileged', 'baseline', 'restricted'];

function psa({ namespaces }: ClusterFacts): readonly Finding[] {
  const odd = namespaces.filter(({ enforce }) => !LEVELS.includes(enforce));
  const why = 'the API server takes a level it does not know for restricted';
  const restricted = namespaces.filter(({ enforce }) => enforce === 'restricted').length;
  return orOk(
    odd.map(({ name, enforce }) =>
      fault('cluster.psa', 'warning', `namespace ${name} enforces "${enforce}"`, { why, fix: `correct its label` }),
    ),
    'cluster.psa',
    `sidecars fit every level of Pod Security; ${restricted} labelled namespaces enforce restricted`,
  );
}

function webhook(facts: ClusterFacts): readonly Finding[] {
  const { webhook, namespace, namespaces, publishedRoots } = facts;
  const lost = lostIn(facts);
  if (webhook === undefined) {
    if (lost.has('cluster.webhook')) return [];
    const remedy = { why: `there is no webhook configuration`, fix: 'sidelock install | kubectl apply -f -' };
    return [fault('cluster.webhook', 'error', 'sidelock is not installed', remedy)];
  }
  const log = `kubectl -n ${namespace} logs deploy/sidelock-webhook`;
  const reached =
    webhook.endpoints > 0
      ? ok('cluster.webhook', `${webhook.endpoints} replicas of the webhook are ready`)
      : fault('cluster.webhook', 'error', 'no replica of the webhook is ready', {
          why: 'new pods get no sidecar',
          fix: `kubectl -n ${namespace} describe deploy sidelock-webhook; ${log}`,
        });
  const bundle =
    webhook.bundle === undefined
      ? []
      : webhook.bundle
        ? [ok('cluster.bundle', 'the API server trusts the webhook')]
        : [
            fault('cluster.bundle', 'error', 'caBundle is not that of the webhook', {
              why: 'the API server will not talk to it, so new pods get no sidecar',
              fix: `the webhook writes it within seconds; if it does not: ${log}`,
            }),
          ];
  const trust =
    publishedRoots > 0
      ? ok('cluster.trust', `${publishedRoots} roots are published`)
      : fault('cluster.trust', 'error', `ConfigMap ${namespace}/sidelock-trust has no root`, {
          why: 'the webhook cannot tell pods whom to trust, and refuses them',
          fix: `kubectl -n ${namespace} logs deploy/sidelock-manager`,
        });
  return [
    ...(lost.has('cluster.webhook') ? [] : [reached]),
    ...bundle,
    ...(lost.has('cluster.trust') ? [] : [trust]),
    ...trials(namespaces),
  ];
}

function trials(namespaces: ClusterFacts['namespaces']): readonly Finding[] {
  const tried = namespaces.filter(({ trial }) => trial !== undefined);
  if (tried.length === 0) return [];
  return orOk(
    tried.flatMap(({ name, trial }) => {
      if (trial === 'injected' || trial === undefined) return [];
      const why = trial === 'without' ? 'the API server did not reach the webhook, or it refused' : trial.refused;
      const fix = 'see cluster.webhook, cluster.bundle and cluster.trust';
      return [fault('cluster.injection', 'error', `a pod in ${name} would get no sidecar`, { why, fix })];
    }),
    'cluster.injection',
    `tried in ${tried.length} namespaces: pods get a sidecar`,
  );
}

/** So many of one kind are told. */
const SHOWN = 20;

function pods({ pods, bypasses }: ClusterFacts): readonly Finding[] {
  const missing = pods.flatMap(({ name, sidecar, refusal }) => {
    if (sidecar !== 'missing') return [];
    const why = refusal?.why ?? 'it was made before its namespace was labelled, or while the webhook was away';
    const fix = refusal?.fix ?? 'kubectl rollout restart its workload';
    return [fault('cluster.pods', 'warning', `pod ${name} has no sidecar`, { why, fix })];
  });
  const ill = pods.flatMap(({ name, sidecar }) => {
    if (sidecar !== 'not-ready') return [];
    const [namespace, pod] = name.split('/');
    const fix = `kubectl -n ${namespace} logs ${pod} -c sidelock`;
    return [fault('cluster.sidecars', 'error', `the sidecar of ${name} is not ready`, { fix })];
  });
  const open = [
    ...pods.flatMap(({ name, permissive }) => {
      const fix = 'sidelock migrate in it says when strict is safe; then drop the annotation mode: permissive';
      return permissive ? [fault('cluster.plaintext', 'warning', `${name} takes callers without TLS`, { fix })] : [];
    }),
    ...bypasses.map(({ name, port, instead }) =>
      fault('cluster.plaintext', 'warning', `Service ${name} leads to port ${port} of the app, past its sidecar`, {
        why: 'callers of that Service speak plaintext and are checked by nobody',
        fix: `set its targetPort to ${instead}`,
      }),
    ),
  ];
  const sidecars = pods.filter(({ sidecar }) => sidecar !== 'missing').length;
  return [
    ...orOk(missing.slice(0, SHOWN), 'cluster.pods', 'every pod that should have a sidecar has one'),
    ...orOk(ill.slice(0, SHOWN), 'cluster.sidecars', `${sidecars} sidecars are ready`),
    ...orOk(open.slice(0, SHOWN), 'cluster.plaintext', 'no plaintext port is open'),
  ];
}
