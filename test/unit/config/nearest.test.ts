import t from 'tap';
import { nearest } from '../../../src/config/nearest.ts';

const KEYS = ['allow', 'listen', 'mode', 'protocol', 'target', 'tokenFile'];

t.test('finds the key that was meant', async (t) => {
  for (const [typed, meant] of [
    ['alow', 'allow'],
    ['alolw', 'allow'],
    ['Listen', 'listen'],
    ['listne', 'listen'],
    ['token', 'tokenFile'],
    ['tokenfile', 'tokenFile'],
    ['targets', 'target'],
  ] as const) {
    t.equal(nearest(typed, KEYS), meant, typed);
  }
});

t.test('suggests nothing that is far away', async (t) => {
  for (const typed of ['x', '', 'permissions', 'zz', 'toString']) t.equal(nearest(typed, KEYS), undefined, typed);
});
