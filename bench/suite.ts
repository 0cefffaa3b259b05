import { join } from 'node:path';
import { startChains } from './chains.ts';
import { failures } from './failures.ts';
import type { Figure } from './figures.ts';
import { FIGURES } from './flags.ts';
import { judge } from './judge.ts';
import { measure } from './measure.ts';
import { type Outcome, relayChart, relayMarkdown } from './relay-output.ts';
import { renderFigures, renderScenario, renderVerdicts } from './report.ts';
import type { Measured } from './results.ts';
import type { Finished, RunOptions } from './run.ts';
import { sampleDirect } from './sample.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { missingPrograms, setStage } from './stage.ts';

/** The figures of the guide and the scenarios, those that were asked for, each printed when it is done. */
export async function runSuite(options: RunOptions): Promise<Finished> {
  const { only, print, about } = options;
  const figures = only.includes(FIGURES) ? await runFigures(options) : [];
  if (figures.length > 0) print(renderFigures(figures));
  const asked = SCENARIOS.filter(({ name }) => only.includes(name));
  const missing = asked.length > 0 ? missingPrograms() : [];
  const scenarios = missing.length > 0 ? [] : await runScenarios(asked, options);
  const budgets = judge(figures, scenarios);
  print(renderVerdicts(budgets));
  const unmeasured = `the relay was not measured without ${missing.join(' and ')}: run test/setup.sh, or give --only ${FIGURES}`;
  const outcome: Outcome = {
    ...about,
    figures,
    scenarios,
    budgets,
    failures: [...(missing.length > 0 ? [unmeasured] : []), ...failures(figures, scenarios)],
  };
  return {
    kind: 'relay',
    json: outcome,
    markdown: relayMarkdown(outcome),
    svg: relayChart(scenarios),
    failures: outcome.failures,
  };
}

async function runFigures({ quick, directory, progress }: RunOptions): Promise<Figure[]> {
  // Only here, so that the loop of one scenario starts fast.
  const { measureFigures } = await import('./figures.ts');
  return await measureFigures({ directory: join(directory, 'figures'), rounds: 3, quick, progress });
}

async function runScenarios(scenarios: readonly Scenario[], options: RunOptions): Promise<Measured[]> {
  if (scenarios.length === 0) return [];
  const { peers, directory, progress, print } = options;
  await using stage = await setStage(directory);
  const all: Measured[] = [];
  for (const scenario of scenarios) {
    const { name, protocol } = scenario;
    await using started = await startChains({ ...stage, peers, protocol, directory: join(directory, name) });
    const { results, faults } = await measure(started.chains, scenario, {
      ...options,
      ...stage,
      progress: (text) => progress(`${name}: ${text}`),
    });
    const measured = {
      scenario: name,
      results,
      faults: [...started.faults, ...faults],
      ...(scenario.close ? { direct: await sampleDirect(scenario, { ...options, ...stage }) } : {}),
    };
    all.push(measured);
    print(renderScenario(scenario, measured));
  }
  return all;
}
