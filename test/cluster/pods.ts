import { kubectl, tryKubectl } from './kubectl.ts';
import { NODE, SIDECAR_IMAGE } from './sidecar-image.ts';

const DOMAIN = 'certificate.ai-teddy.com';

/** What Pod Security `restricted` asks of an app. */
const RESTRICTED = {
  runAsNonRoot: true,
  runAsUser: 10_001,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

/**
 * Asks orders through the sidecar and prints status and text; again while nothing is reached: the rules of a new Service
 * come to a node after its pods are ready.
 */
export const CALL_ORDERS = `(async () => {
  for (let tries = 1; ; tries++) {
    const response = await fetch('http://127.0.0.1:' + process.env.ORDERS_MTLS_PORT).catch(() => ({ status: 503 }));
    if (response.status !== 503 || tries === 60) return console.log(response.status, await response.text?.());
    await new Promise((again) => setTimeout(again, 250));
  }
})()`;

interface App {
  readonly name: string;
  /** A few lines for Node. */
  readonly script: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Besides `app`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** `default` unless given. */
  readonly serviceAccount?: string;
  /** Of the container. */
  readonly more?: object;
}

/** The template of a pod with one app in it. */
export function template({ name, script, annotations = {}, labels = {}, serviceAccount, more = {} }: App) {
  const ours = Object.entries(annotations).map(([key, value]) => [`${DOMAIN}/${key}`, value]);
  const command = [NODE, '-e', script];
  return {
    metadata: { labels: { app: name, ...labels }, annotations: Object.fromEntries(ours) },
    spec: {
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 10,
      ...(serviceAccount === undefined ? {} : { serviceAccountName: serviceAccount }),
      containers: [{ name: 'app', image: SIDECAR_IMAGE, command, securityContext: RESTRICTED, ...more }],
    },
  };
}

export function deployment(namespace: string, app: App) {
  const { name } = app;
  const spec = { selector: { matchLabels: { app: name } }, template: template(app) };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace }, spec };
}

/** One that selects the pods of the app of its name. */
export function service(namespace: string, name: string, port: number) {
  const spec = { selector: { app: name }, ports: [{ port, targetPort: port }] };
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec };
}

export function serviceAccount(namespace: string, name: string) {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } };
}

export function list(items: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

/** Runs a few lines in a container of a workload and gives what they print. */
export function run(namespace: string, workload: string, container: string, script: string): Promise<string> {
  return kubectl(['-n', namespace, 'exec', workload, '-c', container, '--', NODE, '-e', script]);
}

/** Says who called, and listens where nobody but its sidecar comes. */
export const ECHO_APP = `require('node:http').createServer((q, r) => r.setHeader('x-pod', require('node:os').hostname()).end(JSON.stringify(q.headers))).listen(8080, '127.0.0.1'); process.on('SIGTERM', () => process.exit(0))`;
export const IDLE_APP = 'setInterval(() => {}, 1e6); process.on("SIGTERM", () => process.exit(0))';

/** A namespace of that name with nothing in it, under Pod Security `restricted`. */
export async function freshNamespace(name: string, labels: readonly string[] = []): Promise<void> {
  await kubectl(['delete', 'namespace', name, '--ignore-not-found', '--timeout=120s']);
  await kubectl(['create', 'namespace', name]);
  await kubectl(['label', 'namespace', name, 'pod-security.kubernetes.io/enforce=restricted', ...labels]);
}

/** @throws Error, with what kubelet and the sidecars of the namespace say of it */
export async function ready(namespace: string, ...deployments: readonly string[]): Promise<void> {
  for (const name of deployments) {
    const { code } = await tryKubectl(['-n', namespace, 'rollout', 'status', `deployment/${name}`, '--timeout=120s']);
    if (code !== 0) throw new Error(`${name} in ${namespace} did not become ready:\n${await account(namespace)}`);
  }
}

/** What kubelet and the sidecars say of the pods of a namespace: gone with it, and needed to explain a failure. */
export async function account(namespace: string): Promise<string> {
  const all = [
    ['get', 'pods', '-o', 'wide'],
    ['get', 'events', '--sort-by=.lastTimestamp'],
    ['logs', '-l', 'app', '--all-containers', '--prefix', '--tail=200'],
    ['logs', '-l', 'app.kubernetes.io/name', '--prefix', '--tail=200'],
  ];
  const said = await Promise.all(all.map((words) => tryKubectl(['-n', namespace, ...words])));
  return said.map(({ stdout, stderr }) => stdout + stderr).join('\n');
}
