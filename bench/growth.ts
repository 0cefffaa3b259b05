import { join } from 'node:path';
import { startChains } from './chains.ts';
import { CURVES, type Curve } from './curves.ts';
import { failures } from './failures.ts';
import { type CurveResult, growthChart, growthMarkdown, renderCurve } from './growth-output.ts';
import { measure } from './measure.ts';
import type { Finished, RunOptions } from './run.ts';
import { missingPrograms, type Stage, setStage } from './stage.ts';

/** The curves that were asked for, each printed when it is done. */
export async function runGrowth(options: RunOptions): Promise<Finished> {
  const missing = missingPrograms();
  if (missing.length > 0) throw new Error(`${missing.join(' and ')} not installed: run test/setup.sh`);
  await using stage = await setStage(options.directory);
  const curves: CurveResult[] = [];
  for (const curve of CURVES.filter(({ name }) => options.only.includes(name))) {
    const result = await follow(curve, stage, options);
    curves.push(result);
    options.print(renderCurve(result));
  }
  const failed = failures(
    [],
    curves.flatMap(({ points }) => points.map(({ measured }) => measured)),
  );
  return {
    kind: 'growth',
    json: { ...options.about, curves, failures: failed },
    markdown: growthMarkdown(options.about, curves),
    svg: growthChart(curves),
    failures: failed,
  };
}

/** The chains live through all points, from the least to the most. */
async function follow(curve: Curve, stage: Stage, options: RunOptions): Promise<CurveResult> {
  const { name, protocol } = curve;
  const { peers, directory, progress } = options;
  await using started = await startChains({ ...stage, peers, protocol, directory: join(directory, name) });
  const points: CurveResult['points'][number][] = [];
  for (const { x, work } of curve.points) {
    const { results, faults } = await measure(started.chains, work, {
      ...options,
      ...stage,
      progress: (text) => progress(`${name}, ${x} ${curve.axis}: ${text}`),
    });
    const scenario = `${name}, ${x} ${curve.axis}`;
    points.push({ x, measured: { scenario, results, faults: [...started.faults, ...faults] } });
  }
  return { curve, points };
}
