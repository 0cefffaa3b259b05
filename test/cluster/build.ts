import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { say } from './say.ts';

interface Tool {
  readonly name: string;
  /** Folder of this directory whose go.mod pins it. */
  readonly module: 'kubernetes' | 'containerd' | 'helm';
  readonly package: string;
  /** On two idle cores, with nothing compiled before. */
  readonly takes: string;
}

/** In the order of need: the first two alone serve the tests that need no kubelet. */
const TOOLS: readonly Tool[] = [
  { name: 'etcd', module: 'kubernetes', package: 'go.etcd.io/etcd/server/v3', takes: '1 minute' },
  ...[
    ['kube-apiserver', '6 minutes'],
    ['kubectl', '1 minute'],
    ['kube-controller-manager', '5 minutes'],
    ['kube-scheduler', '1 minute'],
    ['kubelet', '1 minute'],
    ['kube-proxy', 'half a minute'],
  ].map(
    ([name = '', takes = '']): Tool => ({
      name,
      module: 'kubernetes',
      package: `k8s.io/kubernetes/cmd/${name}`,
      takes,
    }),
  ),
  { name: 'coredns', module: 'kubernetes', package: 'github.com/coredns/coredns', takes: '3 minutes' },
  ...['containerd', 'containerd-shim-runc-v2', 'ctr'].map(
    (name): Tool => ({
      name,
      module: 'containerd',
      package: `github.com/containerd/containerd/v2/cmd/${name}`,
      takes: name === 'containerd' ? '2 minutes' : 'a few seconds',
    }),
  ),
];

const here = import.meta.dirname;

/**
 * Directory of the cluster's programs, built from source where they are not there yet. They are kept outside the tree,
 * by what they are built from, so that each machine builds them once. @throws Error in words when Go is missing
 */
export function build(): string {
  const directory = join(cache(), key('kubernetes', 'containerd'));
  mkdirSync(directory, { recursive: true });
  const missing = TOOLS.filter(({ name }) => !isThere(join(directory, name)));
  if (missing.length === 0) return directory;
  const go = spawnSync('go', ['version'], { encoding: 'utf8' });
  if (go.status !== 0) {
    throw new Error('the test cluster is built from source, and there is no Go here: install Go 1.26 or newer');
  }
  say(`building ${missing.length} programs with ${go.stdout.trim()}; once a machine, into ${directory}`);
  for (const [at, tool] of missing.entries()) {
    say(`${at + 1} of ${missing.length}: ${tool.name}, up to ${tool.takes} on two idle cores`);
    const start = process.hrtime.bigint();
    compile(tool, directory);
    say(`${tool.name} took ${Number((process.hrtime.bigint() - start) / 1_000_000_000n)} s`);
  }
  return directory;
}

/** Helm, which only the tests of the chart need: kept apart, so that a new one costs no new cluster. */
export function buildHelm(): string {
  const directory = join(cache(), `helm-${key('helm')}`);
  const program = join(directory, 'helm');
  if (isThere(program)) return program;
  mkdirSync(directory, { recursive: true });
  say('building helm, up to 5 minutes on two idle cores; once a machine');
  compile({ name: 'helm', module: 'helm', package: 'helm.sh/helm/v4/cmd/helm', takes: '5 minutes' }, directory);
  return program;
}

function compile({ name, module, package: source }: Tool, directory: string): void {
  const output = join(directory, name);
  const args = [
    '-n',
    '19',
    'go',
    'build',
    '-trimpath',
    `-ldflags=${LINK}`,
    `-tags=${TAGS}`,
    '-o',
    `${output}.new`,
    source,
  ];
  const env = { ...process.env, CGO_ENABLED: '0' };
  execFileSync('nice', args, { cwd: join(here, module), env, stdio: ['ignore', 'inherit', 'inherit'] });
  renameSync(`${output}.new`, output);
}

/** Everything that programs are made of. */
function key(...modules: ReadonlyArray<Tool['module']>): string {
  const hash = createHash('sha256').update(`${LINK}\n${TAGS}\n`);
  for (const module of modules) {
    for (const file of ['go.mod', 'go.sum']) hash.update(readFileSync(join(here, module, file)));
  }
  return hash.digest('hex').slice(0, 16);
}

function cache(): string {
  return process.env['SIDELOCK_CLUSTER_CACHE'] ?? join(homedir(), '.cache/sidelock/cluster');
}

/** Without it kubectl cannot read the version of its server, and the node reports none. */
const LINK = [
  '-s -w',
  ...Object.entries({ gitVersion: 'v1.37.2', gitMajor: '1', gitMinor: '37' }).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  ),
].join(' ');
/** File systems of containerd that need C libraries. */
const TAGS = 'no_btrfs,no_zfs,no_devmapper';

function isThere(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
