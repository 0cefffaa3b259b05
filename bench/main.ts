import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findProgram } from '../test/support/programs.ts';
import { startBackend } from './backend.ts';
import type { Figure } from './figures.ts';
import { machine } from './machine.ts';
import { writeMaterial } from './material.ts';
import { measure, type Result } from './measure.ts';
import { ghostunnel } from './peers/ghostunnel.ts';
import { haproxy } from './peers/haproxy.ts';
import { nginx } from './peers/nginx.ts';
import type { Peer } from './peers/peer.ts';
import { buildBundle, sidelock, sidelockOwn } from './peers/sidelock.ts';
import { startInto } from './process.ts';
import { budgets, renderScenario } from './report.ts';
import { LONG, SCENARIOS, type Scenario } from './scenarios.ts';
import { writeReportScript } from './wrk.ts';

const FIGURES = 'figures';
const PEERS: readonly Peer[] = [sidelock, sidelockOwn, haproxy, nginx, ghostunnel];

const USAGE = `npm run bench -- [flags]

  --only NAMES     figures, ${SCENARIOS.map((s) => s.name).join(', ')}; all unless given
  --peers NAMES    ${PEERS.map((p) => p.name).join(', ')}; all that are installed unless given
  --runs N         rounds over the peers, 3 unless given
  --seconds N      length of one load, 2 unless given
  --quick          one short round of everything: a smoke test, its figures mean little
  --json           print the results as JSON instead of tables
`;

interface Flags {
  readonly only: readonly string[];
  readonly peers: readonly Peer[];
  readonly runs: number;
  readonly seconds: number;
  readonly quick: boolean;
  readonly json: boolean;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const flags = readFlags();
if (flags === undefined) {
  process.stderr.write(USAGE);
  process.exitCode = 2;
} else {
  process.exitCode = (await run(flags)) ? 0 : 1;
}

/** True when every target of the guide was met and no proxy failed a request. */
async function run({ only, peers, runs, seconds, quick, json }: Flags): Promise<boolean> {
  const print = (text: string) => json || process.stdout.write(text);
  const progress = (text: string) => process.stderr.write(`  ${text}\n`);
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-bench-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const installed = peers.filter((peer) => peer.version() !== undefined);
  for (const peer of peers) if (!installed.includes(peer)) progress(`${peer.name} is not installed: left out`);

  let figures: readonly Figure[] = [];
  if (only.includes(FIGURES)) {
    // Only here, so that the loop of one scenario starts fast.
    const { measureFigures, renderFigures } = await import('./figures.ts');
    figures = await measureFigures({ directory: join(directory, 'figures'), quick, progress });
    print(renderFigures(figures));
  }
  const scenarios = SCENARIOS.filter((s) => only.includes(s.name));
  const measured = await runScenarios(
    scenarios,
    { directory, peers: installed, runs, seconds, progress },
    (s, results) => print(renderScenario(s, results)),
  );

  const results = { machine: machine(), versions: versions(installed), runs, seconds, figures, scenarios: measured };
  if (json) process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
  print(`\nJSON in ${await writeResults(results)}\n`);
  return figures.every((f) => f.met) && measured.every((s) => s.results.every((r) => r.errors === 0));
}

interface ScenarioOptions {
  readonly directory: string;
  readonly peers: readonly Peer[];
  readonly runs: number;
  readonly seconds: number;
  readonly progress: (text: string) => void;
}

async function runScenarios(
  scenarios: readonly Scenario[],
  options: ScenarioOptions,
  done: (scenario: Scenario, results: readonly Result[]) => void,
) {
  if (scenarios.length === 0) return [];
  const missing = ['wrk', 'nginx'].filter((name) => findProgram(name) === undefined);
  if (missing.length > 0) {
    options.progress(`proxy scenarios left out: ${missing.join(' and ')} not installed, run test/setup.sh`);
    return [];
  }
  await using stack = new AsyncDisposableStack();
  const script = await writeReportScript(options.directory);
  if (options.peers.some(({ name }) => name.startsWith('sidelock'))) await buildBundle();
  const material = await writeMaterial(join(options.directory, 'material'));
  const backend = await startBackend(startInto(stack), join(options.directory, 'backend'));
  const measured = [];
  for (const scenario of scenarios) {
    const results = await measure({ ...options, scenario, backend, material, script });
    measured.push({ scenario: scenario.name, results, budgets: budgets(scenario, results) });
    done(scenario, results);
  }
  return measured;
}

function versions(peers: readonly Peer[]): Record<string, string> {
  return Object.fromEntries(peers.map((peer) => [peer.name, peer.version() ?? '']));
}

async function writeResults(results: object): Promise<string> {
  const directory = join(import.meta.dirname, 'results');
  await mkdir(directory, { recursive: true });
  const path = join(directory, `${new Date().toISOString().replaceAll(':', '-')}.json`);
  await writeFile(path, `${JSON.stringify(results, null, 2)}\n`);
  return path;
}

/** Undefined when they make no sense. */
function readFlags(): Flags | undefined {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      peers: { type: 'string' },
      runs: { type: 'string' },
      seconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const all = [FIGURES, ...SCENARIOS.map((s) => s.name)];
  const only = values.only?.split(',') ?? all.filter((name) => !(values.quick && LONG.includes(name)));
  const peers =
    values.peers?.split(',').map((name) => PEERS.find((peer) => peer.name === name)) ??
    (values.quick ? PEERS.filter((peer) => peer !== sidelockOwn) : PEERS);
  const runs = Number(values.runs ?? (values.quick ? 1 : 3));
  const seconds = Number(values.seconds ?? (values.quick ? 1 : 2));
  const known = peers.filter((peer) => peer !== undefined);
  const bounded = (n: number, max: number) => Number.isInteger(n) && n >= 1 && n <= max;
  if (values.help || known.length < peers.length || !only.every((name) => all.includes(name))) return undefined;
  if (!bounded(runs, 50) || !bounded(seconds, 60)) return undefined;
  return { only, peers: known, runs, seconds, quick: values.quick, json: values.json };
}
