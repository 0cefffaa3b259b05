import type { Output } from './files.ts';
import type { Flags } from './flags.ts';
import type { Machine } from './machine.ts';

/** What a figure depends on, kept with it. */
export interface About extends Pick<Flags, 'runs' | 'seconds'> {
  readonly machine: Machine;
  /** Of the programs that are not ours. */
  readonly versions: Readonly<Record<string, string>>;
}

export interface RunOptions extends Pick<Flags, 'only' | 'peers' | 'runs' | 'seconds' | 'quick'> {
  readonly about: About;
  /** Empty, for everything that is written on the way. */
  readonly directory: string;
  /** Results, for people. */
  readonly print: (text: string) => void;
  readonly progress: (text: string) => void;
}

export interface Finished extends Output {
  /** Why the run failed; empty when it did not. */
  readonly failures: readonly string[];
}
