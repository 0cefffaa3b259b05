import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import { createMetrics } from '../../src/base/metrics.ts';
import { createWatchMetrics } from '../../src/kubernetes/watch-metrics.ts';
import { createManagerMetrics } from '../../src/manager/metrics.ts';
import { createMonitorMetrics } from '../../src/manager/monitor-metrics.ts';
import { showTrust } from '../../src/manager/trust-metrics.ts';
import { dataPlaneMetrics } from '../../src/sidecar/metrics.ts';
import { identityMetrics, renewalMetrics, showCrl } from '../../src/sidecar/metrics-identity.ts';
import { requireProgram } from '../support/programs.ts';

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
}
interface Rules {
  readonly groups: ReadonlyArray<{ readonly name: string; readonly rules: readonly Rule[] }>;
}
interface Dashboard {
  readonly panels: ReadonlyArray<{
    readonly title: string;
    readonly targets?: ReadonlyArray<{ readonly expr: string }>;
  }>;
}

const run = promisify(execFile);
const directory = join(import.meta.dirname, '../../k8s');
const read = (file: string) => readFile(join(directory, file), 'utf8');
const { spec } = parse(await read('prometheus-rule.yaml')) as { spec: Rules };
const { panels } = JSON.parse(await read('grafana-dashboard.json')) as Dashboard;
const shown = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));
const rules = spec.groups.flatMap((group) => group.rules);

t.test('promtool takes the rules, and they fire when they should', async (t) => {
  const promtool = requireProgram(t, 'promtool');
  if (promtool === undefined) return;
  const cwd = t.testdir({ 'rules.yaml': stringify(spec), 'rules.test.yaml': await read('prometheus-rules.test.yaml') });
  await succeeds(t, run(promtool, ['check', 'rules', 'rules.yaml'], { cwd }), 'check rules');
  await succeeds(t, run(promtool, ['test', 'rules', 'rules.test.yaml'], { cwd }), 'test rules');

  const queries = shown.map(({ expr }, i) => ({
    record: `panel:${i}`,
    expr: expr.replaceAll('$__rate_interval', '5m'),
  }));
  await writeFile(join(cwd, 'panels.yaml'), stringify({ groups: [{ name: 'dashboard', rules: queries }] }));
  await succeeds(t, run(promtool, ['check', 'rules', 'panels.yaml'], { cwd }), 'every query of the dashboard parses');
});

t.test('every metric in rules and dashboard is one that sidelock has', async (t) => {
  const known = new Set([...(await sidecarNames()), ...(await managerNames())]);
  const recorded = rules.flatMap(({ record }) => record ?? []);
  for (const { alert, record, expr } of rules) {
    const unknown = metricsOf(expr).filter((name) => !known.has(name) && !recorded.includes(name));
    t.strictSame(unknown, [], alert ?? record ?? expr);
  }
  // The dashboard works without the rules: recorded names are not allowed here.
  for (const { title, expr } of shown) {
    const used = metricsOf(expr);
    t.not(used.length, 0, `${title} asks for a metric`);
    t.strictSame(
      used.filter((name) => !known.has(name)),
      [],
      title,
    );
  }
  t.strictSame(metricsOf('sum by (a) (rate(x_total{b="c_d"}[5m] offset 1h)) / on (a) y:z > 0.5 or vector(0)'), [
    'x_total',
    'y:z',
  ]);
});

async function succeeds(t: Test, program: Promise<unknown>, name: string): Promise<void> {
  try {
    await program;
    t.pass(name);
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    t.fail(name, { output: `${stdout}${stderr}` });
  }
}

/** What is left of an expression without strings, ranges, label lists, functions and keywords. */
function metricsOf(expr: string): string[] {
  const bare = expr
    .replace(/\{[^}]*\}|\[[^\]]*\]|"[^"]*"/g, ' ')
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ')
    .replace(/\boffset\s+\w+/g, ' ');
  const words = bare.match(/(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])/g) ?? [];
  return words.filter((word) => !['and', 'or', 'unless', 'bool', 'sum', 'min', 'max', 'count'].includes(word));
}

async function sidecarNames(): Promise<string[]> {
  const metrics = createMetrics({ processMetrics: true });
  dataPlaneMetrics(metrics);
  identityMetrics(metrics, { current: () => undefined, subscribe: () => () => undefined });
  renewalMetrics(metrics);
  showCrl(metrics, { current: () => undefined });
  return namesIn(await metrics.render());
}

async function managerNames(): Promise<string[]> {
  const metrics = createMetrics({ processMetrics: true });
  createManagerMetrics(metrics, 'test');
  createMonitorMetrics(metrics);
  const [phase, generation] = ['steady' as const, 1];
  createWatchMetrics(metrics);
  showTrust(metrics, {
    phase: () => phase,
    generation: () => generation,
    behind: () => 0,
    bundle: () => ({ roots: [] }),
  });
  return namesIn(await metrics.render());
}

function namesIn(text: string): string[] {
  return [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name = '', type]) =>
    type === 'histogram' || type === 'summary' ? ['bucket', 'sum', 'count'].map((part) => `${name}_${part}`) : [name],
  );
}
