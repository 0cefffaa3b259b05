import fc from 'fast-check';
import t from 'tap';
import { type Change, changeBy, changesTo } from '../../../src/kubernetes/changes.ts';
import type { Json } from '../../../src/kubernetes/names.ts';

/** An object of which the API server has this version. */
function object(name: string, uid: number, version: number): Json {
  return { metadata: { namespace: 'n', name, uid: `u${uid}`, resourceVersion: String(version) } };
}

/** What whoever is told believes, and whether each change fitted what it believed. */
function believer(known: Map<string, Json>) {
  let fits = true;
  const take = (changes: readonly Change[]) => {
    for (const { key, before, after } of changes) {
      fits &&= known.get(key) === before;
      if (after === undefined) known.delete(key);
      else known.set(key, after);
    }
  };
  return { take, fits: () => fits };
}

/** What happens to a cluster, and which of it is seen as it happens: else a list comes after. */
const history = fc.array(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    what: fc.constantFrom('write', 'delete', 'replace'),
    isSeen: fc.boolean(),
    isRepeated: fc.boolean(),
  }),
  { maxLength: 40 },
);

t.test(
  'events and lists in any mixture end in what is there, and each change begins where the last one ended',
  async () => {
    fc.assert(
      fc.property(history, (steps) => {
        const cluster = new Map<string, Json>();
        const known = new Map<string, Json>();
        const { take, fits } = believer(known);
        let version = 0;
        let isBehind = false;
        for (const { name, what, isSeen, isRepeated } of steps) {
          const key = `n/${name}`;
          const before = cluster.get(key);
          const uid = what === 'replace' || before === undefined ? ++version : Number(uidOf(before));
          const next = object(name, uid, ++version);
          if (what === 'delete') {
            if (!cluster.delete(key)) continue;
          } else cluster.set(key, next);
          const isTold = isSeen && !(what === 'replace' && before !== undefined);
          // A watch that missed something lists first.
          if (isTold && isBehind) take(changesTo([...cluster.values()], known));
          isBehind = !isTold;
          if (!isTold) continue;
          const type = what === 'delete' ? 'DELETED' : before === undefined ? 'ADDED' : 'MODIFIED';
          for (const _ of isRepeated ? [1, 2] : [1]) take(changeBy({ type, object: next }, known));
        }
        take(changesTo([...cluster.values()], known));
        const versions = (map: Map<string, Json>) => [...map].map((one) => JSON.stringify(one)).sort();
        return fits() && versions(known).join() === versions(cluster).join();
      }),
    );
  },
);

t.test('what went and came again while nobody looked is two changes', async (t) => {
  const [before, after] = [object('a', 1, 1), object('a', 2, 7)];
  t.same(changesTo([after], new Map([['n/a', before]])), [
    { key: 'n/a', before },
    { key: 'n/a', after },
  ]);
  t.same(changeBy({ type: 'BOOKMARK', object: object('', 0, 9) }, new Map()), []);
});

function uidOf({ metadata }: Json): string {
  return (metadata as { readonly uid: string }).uid.slice(1);
}
