import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificates } from './certificates.ts';
import { PAUSE_IMAGE, writeConfigs } from './config.ts';
import { importImage, makeImage } from './image.ts';
import { start, stop, stopAll, until } from './processes.ts';
import { say } from './say.ts';
import { ADMIN_KUBECONFIG, API_PORT, BRIDGE, NODE_IP, path } from './state.ts';

/** A cluster of one node, ready for pods; what is left of another one is taken away first. About 15 seconds. */
export async function up(programs: string): Promise<void> {
  await down();
  const begun = process.hrtime.bigint();
  for (const needed of ['/usr/sbin/runc', '/usr/lib/cni/bridge', '/usr/sbin/iptables', '/usr/bin/busybox']) {
    if (!existsSync(needed)) throw new Error(`${needed} is not installed: run test/setup.sh`);
  }
  mkdirSync(path(), { recursive: true, mode: 0o700 });
  writeFileSync(path('programs'), programs);
  say('API server, about 5 seconds');
  makeCertificates();
  writeConfigs();
  makeBridge();
  startApiServer(programs);
  await until('the API server to be ready', 'kube-apiserver.log', () => kubectl(programs, ['get', '--raw=/readyz']));
  say('controllers, node and network, about 10 seconds');
  startControllers(programs);
  startNode(programs);
  await until('containerd to answer', 'containerd.log', () => existsSync(path('containerd.sock')));
  const pause = makeImage(PAUSE_IMAGE, { files: { '/bin/busybox': '/bin/busybox' }, command: PAUSE });
  importImage(programs, pause);
  startKubelet(programs);
  const readiness = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
  await until('the node to be ready', 'kubelet.log', () =>
    kubectl(programs, ['get', 'node', 'n1', '-o', readiness], /^True$/),
  );
  say(`ready after ${Number((process.hrtime.bigint() - begun) / 100_000_000n) / 10} s: KUBECONFIG=${ADMIN_KUBECONFIG}`);
}

/** Nothing of a cluster is left: no process, no mount, no network. */
export async function down(): Promise<void> {
  const programs = existsSync(path('programs')) ? readFileSync(path('programs'), 'utf8') : undefined;
  await stopAll();
  if (programs !== undefined) spawnSync(join(programs, 'kube-proxy'), ['--cleanup'], { stdio: 'ignore' });
  rmSync(path(), { recursive: true, force: true });
}

/** Its containers run on; what it keeps in memory alone is gone, keys of pod certificates among it. */
export async function restartKubelet(programs: string): Promise<void> {
  await stop(join(programs, 'kubelet'));
  startKubelet(programs);
}

const PAUSE = ['/bin/busybox', 'sh', '-c', 'trap "exit 0" TERM INT; /bin/busybox sleep 2147483647 & wait'];

function kubectl(programs: string, args: readonly string[], expected?: RegExp): boolean {
  const found = spawnSync(join(programs, 'kubectl'), [`--kubeconfig=${ADMIN_KUBECONFIG}`, ...args], {
    encoding: 'utf8',
  });
  return found.status === 0 && (expected?.test(found.stdout) ?? true);
}

function makeBridge(): void {
  for (const line of [
    `link add ${BRIDGE} type bridge`,
    `addr add ${NODE_IP}/24 dev ${BRIDGE}`,
    `link set ${BRIDGE} up`,
  ]) {
    execFileSync('ip', line.split(' '));
  }
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
}

function startApiServer(programs: string): void {
  start(join(programs, 'etcd'), [
    `--data-dir=${path('etcd')}`,
    '--listen-client-urls=http://127.0.0.1:12379',
    '--advertise-client-urls=http://127.0.0.1:12379',
    '--listen-peer-urls=http://127.0.0.1:12380',
    '--unsafe-no-fsync=true',
    '--log-level=warn',
  ]);
  start(join(programs, 'kube-apiserver'), [
    '--etcd-servers=http://127.0.0.1:12379',
    `--tls-cert-file=${path('serving.crt')}`,
    `--tls-private-key-file=${path('serving.key')}`,
    `--cert-dir=${path('apiserver')}`,
    '--bind-address=0.0.0.0',
    `--advertise-address=${NODE_IP}`,
    `--secure-port=${API_PORT}`,
    `--client-ca-file=${path('ca.crt')}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--service-cluster-ip-range=10.0.0.0/24',
    '--allow-privileged=true',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${path('sa.pub')}`,
    `--service-account-signing-key-file=${path('sa.key')}`,
    '--kubelet-preferred-address-types=InternalIP',
    `--kubelet-client-certificate=${path('admin.crt')}`,
    `--kubelet-client-key=${path('admin.key')}`,
  ]);
}

function startControllers(programs: string): void {
  const kubeconfigs = (name: string) =>
    ['', 'authentication-', 'authorization-'].map((kind) => `--${kind}kubeconfig=${path(`${name}.kubeconfig`)}`);
  start(join(programs, 'kube-controller-manager'), [
    ...kubeconfigs('controller-manager'),
    '--leader-elect=false',
    `--service-account-private-key-file=${path('sa.key')}`,
    `--root-ca-file=${path('ca.crt')}`,
    '--use-service-account-credentials=true',
    '--cluster-cidr=10.244.0.0/16',
    '--allocate-node-cidrs=true',
    `--cert-dir=${path('controllers')}`,
  ]);
  const scheduler = [...kubeconfigs('scheduler'), '--leader-elect=false', `--cert-dir=${path('scheduler')}`];
  start(join(programs, 'kube-scheduler'), scheduler);
}

function startNode(programs: string): void {
  // The runtime finds its shim beside itself.
  const env = { PATH: `${programs}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
  start(join(programs, 'containerd'), ['--config', path('containerd.toml')], env);
  start(
    join(programs, 'kube-proxy'),
    [
      `--kubeconfig=${path('kube-proxy.kubeconfig')}`,
      '--proxy-mode=iptables',
      '--hostname-override=n1',
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-established=0',
      '--conntrack-tcp-timeout-close-wait=0',
    ],
    env,
  );
  start(join(programs, 'coredns'), ['-conf', path('Corefile')]);
}

function startKubelet(programs: string): void {
  const flags = ['--hostname-override=n1', `--node-ip=${NODE_IP}`, `--root-dir=${path('kubelet')}`];
  const files = [`--config=${path('kubelet.json')}`, `--kubeconfig=${path('kubelet.kubeconfig')}`];
  start(join(programs, 'kubelet'), [...files, ...flags], { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` });
}
