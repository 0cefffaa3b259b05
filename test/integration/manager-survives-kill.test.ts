import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { killManagers } from '../support/manager/kills.ts';

/** The long form is `npm run soak:kills`. */
const ROUNDS = 4;

t.test(
  'M42 a manager killed in a rotation, a step on trust, a revocation or a backup leaves a valid state',
  async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'sidelock-kills-'));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    await killManagers(directory, ROUNDS, (round, { operation, outcome }) => {
      t.pass(`round ${round + 1}: ${operation} was ${outcome}`);
    });
  },
);
