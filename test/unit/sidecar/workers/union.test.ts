import t from 'tap';
import { unitePlaintext, unitePolicies } from '../../../../src/sidecar/workers/union.ts';

const at = (second: number) => `2026-01-01T00:00:0${second}.000Z`;
const caller = { connections: 2, audited: 1, other: 1, firstSeen: at(2), lastSeen: at(4) };

t.test('callers that several workers saw are one, and the watch began with the last of these', async (t) => {
  const report = { listener: 'in', policy: 'audit' as const, since: at(1), callers: [], other: 3 };
  const get = { method: 'GET', path: '/a', count: 5 };
  const post = { method: 'POST', path: '/a', count: 1 };
  const a = { ...caller, id: 'a', requests: [get] };
  t.strictSame(
    unitePolicies([
      [{ ...report, callers: [a] }],
      [
        {
          ...report,
          since: at(2),
          callers: [
            { ...a, requests: [post, get], firstSeen: at(1) },
            { ...a, id: 'b' },
          ],
        },
      ],
      [{ ...report, listener: 'other' }],
    ]),
    [
      {
        ...{ ...report, since: at(2), other: 6 },
        callers: [
          {
            ...{ id: 'a', connections: 4, audited: 2, other: 2, firstSeen: at(1), lastSeen: at(4) },
            requests: [{ ...get, count: 10 }, post],
          },
          { ...a, id: 'b' },
        ],
      },
      { ...report, listener: 'other' },
    ],
  );
});

t.test('so are those without TLS', async (t) => {
  const known = { address: '::1', connections: 1, firstSeen: at(1), lastSeen: at(1) };
  const report = { listener: 'in', since: at(1), callers: [known], other: { connections: 0 }, open: 1 };
  const other = { connections: 2, lastSeen: at(3) };
  t.strictSame(
    unitePlaintext([
      { strict: ['s'], permissive: [report] },
      { strict: ['s'], permissive: [{ ...report, callers: [{ ...known, lastSeen: at(5) }], other }] },
    ]),
    {
      strict: ['s'],
      permissive: [{ ...report, callers: [{ ...known, connections: 2, lastSeen: at(5) }], other, open: 2 }],
    },
  );
  t.strictSame(unitePlaintext([]), { strict: [], permissive: [] });
});
