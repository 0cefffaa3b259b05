import t from 'tap';
import { checkSubject, sansOf, spiffeIdOf } from '../../../src/manager/subject.ts';

t.test('names follow from service, namespace and trust domain', async (t) => {
  const subject = checkSubject({ service: 'orders', namespace: 'shop' }, []);
  t.equal(subject.type, 'api_service');
  t.equal(spiffeIdOf(subject, 'ai-teddy.local'), 'spiffe://ai-teddy.local/ns/shop/sa/orders');
  t.same(
    sansOf(subject, 'ai-teddy.local').map(({ value }) => value),
    [
      'orders',
      'orders.ai-teddy.local',
      'orders.ai-teddy.svc.cluster.local',
      'orders.shop.svc',
      'orders.shop.svc.cluster.local',
    ],
  );
});

t.test('additional names are kept in their order, once', async (t) => {
  const subject = checkSubject({ service: 'ai', additionalSans: ['ai.local', '10.0.0.7', 'ai', 'ai.local'] }, []);
  const sans = sansOf(subject, 'ai-teddy.local');
  t.same(sans.slice(-2), [
    { type: 'dns', value: 'ai.local' },
    { type: 'ip', value: '10.0.0.7' },
  ]);
});

t.test('with a policy, names outside of it are refused', async (t) => {
  const policy = ['.internal', 'ai.local'];
  const ask = (name: string) => () => checkSubject({ service: 'ai', additionalSans: [name] }, policy);
  t.doesNotThrow(ask('ai-service.internal'));
  t.doesNotThrow(ask('ai.local'));
  for (const name of ['x.ai.local', 'internal', 'evil.example', 'a.internal.example', 'xinternal']) {
    t.throws(ask(name), { code: 'SL-NAME-004' }, name);
  }
});

t.test('M37 names that could become paths, headers or markup are no names', async (t) => {
  for (const name of [
    '../etc',
    'a/b',
    'a b',
    'A',
    '-a',
    'a-',
    'a\n',
    'x",evil',
    '<img>',
    '',
    'a'.repeat(64),
    '.sidelock',
  ]) {
    t.throws(() => checkSubject({ service: name }, []), { code: 'SL-NAME-002' }, JSON.stringify(name));
    t.throws(() => checkSubject({ service: 'a', namespace: name }, []), { code: 'SL-NAME-002' });
  }
  for (const name of ['*.example', 'A.example', 'a..b', 'a.example.', 'a:443', 'http://a']) {
    t.throws(() => checkSubject({ service: 'a', additionalSans: [name] }, []), { code: 'SL-NAME-003' }, name);
  }
});

t.test('nobody gets a name in the namespace of the manager', async (t) => {
  t.throws(() => checkSubject({ service: 'manager', namespace: 'sidelock-system' }, []), { code: 'SL-NAME-004' });
});

t.test('a type that is none is named with those there are', async (t) => {
  t.throws(() => checkSubject({ service: 'a', type: 'toaster' }, []), { code: 'SL-API-001', why: /api_service/ });
});
