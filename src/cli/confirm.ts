import { createInterface } from 'node:readline/promises';
import { SidelockError } from '../base/errors.ts';

/** Whether a person says yes. */
export async function confirmed(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question(`${question} [y/N] `)).trim().toLowerCase() === 'y';
  } finally {
    lines.close();
  }
}

/** @throws SL-USAGE-001 where nobody can be asked; `what` says what was not done */
export function refuseSilence(what: string): void {
  if (process.stdin.isTTY && process.stderr.isTTY) return;
  throw new SidelockError('SL-USAGE-001', `${what}: nobody can be asked here`, { fix: 'give --yes' });
}
