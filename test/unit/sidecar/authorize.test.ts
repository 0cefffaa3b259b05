import t from 'tap';
import { parseSpiffeId } from '../../../src/pki/names.ts';
import { compileAllow, entryText, expand, judgeRequest } from '../../../src/sidecar/authorize.ts';
import type { AllowEntry, AllowRule } from '../../../src/sidecar/options.ts';

const context = { trustDomain: 'ai-teddy.local', namespace: 'shop' };
const allows = (rule: AllowRule, id: string) => compileAllow(rule, context)(parseSpiffeId(id)) !== undefined;
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
  for (const namespace of ['devices', 'sidelock-system']) {
    t.notOk(allows('any', id(namespace, 'y')), 'what is no service has to be named');
    t.ok(allows([`${namespace}/y`], id(namespace, 'y')));
  }
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

t.test('an entry names its caller by service, namespace, both, or SPIFFE pattern', async (t) => {
  for (const [entry, text] of [
    [{ service: 'web' }, id('shop', 'web')],
    [{ service: 'web', namespace: 'ops' }, id('ops', 'web')],
    [{ namespace: 'ops' }, 'spiffe://ai-teddy.local/ns/ops/sa/*'],
    [{ spiffe: 'spiffe://b.local/x/*', methods: ['GET'] }, 'spiffe://b.local/x/* GET'],
    [{ service: 'web', methods: ['GET', 'POST'], paths: ['/a', '/b/*'] }, `${id('shop', 'web')} GET|POST /a|/b/*`],
  ] as const) {
    t.equal(entryText(entry, context), text);
  }
  for (const entry of [{}, { methods: ['GET'] }, { spiffe: 'spiffe://b.local/x', service: 'web' }]) {
    t.throws(() => compileAllow([entry], context), { code: 'SL-CFG-003' }, JSON.stringify(entry));
  }
});

t.test('requests are judged by method and path, by every entry of the caller', async (t) => {
  const rule: AllowEntry[] = [
    { namespace: 'shop', methods: ['GET'], paths: ['/orders/*', '/healthz'] },
    { service: 'web', methods: ['POST'], paths: ['/orders'] },
    { service: 'ops', methods: ['DELETE'] },
    { service: 'ops', paths: ['/%6Detrics'] },
  ];
  const judge = (service: string, method: string, target: string) => {
    const grant = compileAllow(rule, context)(parseSpiffeId(id('shop', service)));
    return grant === undefined ? 'nobody' : judgeRequest(grant, method, target);
  };
  for (const [service, method, target, verdict] of [
    ['web', 'GET', '/orders/1', 'allowed'],
    ['web', 'GET', '/orders/%31?a=b', 'allowed'],
    ['web', 'GET', '/healthz?x', 'allowed'],
    ['web', 'POST', '/orders', 'allowed'],
    ['web', 'GET', '/orders', 'method_or_path'],
    ['web', 'POST', '/orders/1', 'method_or_path'],
    ['web', 'GET', '/healthz/', 'method_or_path'],
    ['web', 'GET', '/Healthz', 'method_or_path'],
    ['web', 'HEAD', '/healthz', 'method_or_path'],
    ['web', 'get', '/healthz', 'method_or_path'],
    ['web', 'GET', '/ordersx', 'method_or_path'],
    ['web', 'GET', '/orders/../admin', 'ambiguous_path'],
    ['web', 'GET', '/orders/%2e%2e/admin', 'ambiguous_path'],
    ['web', 'GET', '//healthz', 'ambiguous_path'],
    ['web', 'PATCH', '/orders/..', 'method_or_path'],
    ['ops', 'DELETE', '/x//y', 'allowed'],
    ['ops', 'PUT', '/metrics', 'allowed'],
    ['ops', 'OPTIONS', '*', 'ambiguous_path'],
  ] as const) {
    t.equal(judge(service, method, target), verdict, `${service} ${method} ${target}`);
  }
  for (const path of ['orders', '/a/../b', '/a?b', '/a*', '/*/b', '/%2f']) {
    t.throws(
      () => compileAllow([{ service: 'web', paths: [path] }], context),
      { code: 'SL-CFG-003', data: { pattern: path } },
      path,
    );
  }
});

t.test('an entry without methods and paths grants everything, whatever others say', async (t) => {
  const grant = compileAllow([{ service: 'web', paths: ['/a'] }, 'shop/*'], context)(parseSpiffeId(id('shop', 'web')));
  t.equal(grant?.requests, undefined);
  t.ok(grant);
});
