import { join } from 'node:path';
import { findProgram } from '../test/support/programs.ts';
import { type Backend, startBackend } from './backend.ts';
import { type Material, writeMaterial } from './material.ts';
import { startInto } from './process.ts';
import { createLoad, type Load } from './wrk.ts';

/** What all chains share. */
export interface Stage extends AsyncDisposable {
  readonly directory: string;
  readonly material: Material;
  readonly backend: Backend;
  readonly load: Load;
}

/** Names of programs without which no chain can be measured. */
export function missingPrograms(): readonly string[] {
  return ['wrk', 'nginx'].filter((name) => findProgram(name) === undefined);
}

export async function setStage(directory: string): Promise<Stage> {
  await using starting = new AsyncDisposableStack();
  const stage = {
    directory,
    load: await createLoad(directory),
    material: await writeMaterial(join(directory, 'material')),
    backend: await startBackend(startInto(starting), join(directory, 'backend')),
  };
  const started = starting.move();
  return { ...stage, [Symbol.asyncDispose]: () => started.disposeAsync() };
}
