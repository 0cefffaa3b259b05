import type { Chain } from './chains.ts';
import type { Measured, Sample } from './results.ts';
import { type SampleOptions, sample } from './sample.ts';
import type { Work } from './scenarios.ts';

export interface MeasureOptions extends SampleOptions {
  readonly runs: number;
  /** Told before each load. */
  readonly progress: (text: string) => void;
}

/**
 * Loads one chain after the other, `runs` times around, so that a slow moment of the machine meets all of them. A chain
 * that dies is left out from then on, and is a fault.
 */
export async function measure(
  chains: readonly Chain[],
  work: Work,
  options: MeasureOptions,
): Promise<Pick<Measured, 'results' | 'faults'>> {
  const samples = new Map(chains.map((chain) => [chain, [] as Sample[]]));
  const faults: string[] = [];
  for (let run = 1; run <= options.runs; run++) {
    for (const [chain, own] of samples) {
      options.progress(`${chain.peer}, run ${run} of ${options.runs}`);
      try {
        own.push(await sample(chain, work, options));
      } catch (error) {
        faults.push(`${chain.peer}, run ${run}: ${error instanceof Error ? error.message : String(error)}`);
        samples.delete(chain);
      }
    }
  }
  return { results: [...samples].map(([{ peer, pssIdle }, own]) => ({ peer, pssIdle, samples: own })), faults };
}
