import t from 'tap';
import { createSeen } from '../../../src/sidecar/seen.ts';
import { fakeClock } from '../../support/fake-clock.ts';

t.test('requests are kept by method and first segment, as a rule would say it', async (t) => {
  const clock = fakeClock(1_000);
  const seen = createSeen(clock);
  seen.connection('a', false);
  for (const target of ['/', '/x', '/x?y', '/x/1', '/x/2/3', '/%78/4']) seen.request('a', 'GET', target, false);
  seen.request('a', 'POST', '/x/1', true);
  for (const target of ['/x/../y', '//', '*', '/a*/b', `/${'y'.repeat(200)}`]) seen.request('a', 'GET', target, true);
  seen.request('a', 'get', '/x', true);
  t.match(seen.callers(), [
    {
      id: 'a',
      connections: 1,
      audited: 7,
      other: 6,
      requests: [
        { method: 'GET', path: '/', count: 1 },
        { method: 'GET', path: '/x', count: 2 },
        { method: 'GET', path: '/x/*', count: 3 },
        { method: 'POST', path: '/x/*', count: 1 },
      ],
      firstSeen: '1970-01-01T00:00:01.000Z',
    },
  ]);
});

t.test('whoever calls and asks for whatever, it stays of bounded size', async (t) => {
  const seen = createSeen(fakeClock(0));
  for (let i = 0; i < 20_000; i++) {
    seen.connection(`c${i}`, true);
    seen.request('c0', `M${i}`, `/${i}/x`, true);
  }
  const callers = seen.callers();
  t.equal(callers.length, 256);
  t.equal(seen.other, 20_000 - 256);
  t.equal(callers[0]?.requests.length, 64);
  t.equal(callers[0]?.other, 20_000 - 64);
});
