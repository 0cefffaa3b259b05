import t from 'tap';
import { parseSpiffeId } from '../../../src/pki/names.ts';
import { compileAllow, expand } from '../../../src/sidecar/authorize.ts';

const context = { trustDomain: 'ai-teddy.local', namespace: 'shop' };
const allows = (rule: 'any' | string[], id: string) => compileAllow(rule, context)(parseSpiffeId(id));
const id = (namespace: string, service: string) => `spiffe://ai-teddy.local/ns/${namespace}/sa/${service}`;

t.test('short patterns stand in the own namespace and trust domain', async (t) => {
  t.equal(expand('web', context), id('shop', 'web'));
  t.equal(expand('ops/web', context), id('ops', 'web'));
  t.equal(expand('ops/*', context), 'spiffe://ai-teddy.local/ns/ops/sa/*');
  t.equal(expand('spiffe://other.local/a/b', context), 'spiffe://other.local/a/b');
});

t.test('a service pattern lets in that service and no other', async (t) => {
  t.ok(allows(['web'], id('shop', 'web')));
  for (const other of [
    id('shop', 'web2'),
    id('shop', 'we'),
    id('ops', 'web'),
    'spiffe://ai-teddy.local/ns/shop/sa/web/x',
  ]) {
    t.notOk(allows(['web'], other), other);
  }
});

t.test('the same path in another trust domain is somebody else', async (t) => {
  t.notOk(allows(['web'], 'spiffe://evil.local/ns/shop/sa/web'));
  t.notOk(allows(['shop/*'], 'spiffe://evil.local/ns/shop/sa/web'));
});

t.test('a namespace pattern lets in all of that namespace', async (t) => {
  t.ok(allows(['ops/*'], id('ops', 'web')));
  t.notOk(allows(['ops/*'], id('ops2', 'web')));
  t.notOk(allows(['ops/*'], id('shop', 'web')));
});

t.test('a prefix pattern matches whole segments, and at least one more', async (t) => {
  const rule = ['spiffe://ai-teddy.local/ns/ops/*'];
  t.ok(allows(rule, id('ops', 'web')));
  t.notOk(allows(rule, 'spiffe://ai-teddy.local/ns/ops'));
  t.notOk(allows(rule, 'spiffe://ai-teddy.local/ns/ops2/sa/web'));
});

t.test('any is a word of its own; an empty list lets nobody in', async (t) => {
  t.ok(allows('any', id('x', 'y')));
  t.notOk(allows([], id('shop', 'web')));
});

t.test('what is no pattern is refused at start, by name', async (t) => {
  for (const pattern of [
    '',
    '*',
    'a/b/c',
    'Web',
    'web/',
    '/web',
    '*/web',
    'spiffe://',

    'spiffe://TD/x',
    'a*',
  ]) {
    t.throws(() => compileAllow([pattern], context), { code: 'SL-CFG-003', data: { pattern } }, `"${pattern}"`);
  }
});
