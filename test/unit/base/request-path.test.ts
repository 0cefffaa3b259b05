import t from 'tap';
import { plainPath } from '../../../src/base/request-path.ts';

t.test('a path that every server reads alike has one form', async (t) => {
  for (const [target, path] of [
    ['/', '/'],
    ['/a/b?x=/../y', '/a/b'],
    ['/%61%2D%7e', '/a-~'],
    ['/a%20b%c3%a9', '/a%20b%C3%A9'],
    ['/100%25', '/100%25'],
    ['/a.b/..c/...', '/a.b/..c/...'],
    ['/a/', '/a/'],
    ['/a:b@c+d,e=f&g', '/a:b@c+d,e=f&g'],
  ] as const) {
    t.equal(plainPath(target), path, target);
  }
});

t.test('a path that two servers could read in two ways has none (H7)', async (t) => {
  for (const target of [
    '/public/../admin',
    '/public/./admin',
    '/..',
    '/.',
    '/%2e%2e/admin',
    '/.%2E/admin',
    '/%2e',
    '//admin',
    '/public//admin',
    '/public%2fadmin',
    '/public%2Fadmin',
    '/public%5cadmin',
    '/public\\admin',
    '/public;x/admin',
    '/public/..;/admin',
    '/public%3bx',
    '/public%00',
    '/public%0a',
    '/public%7f',
    '/public%23x',
    '/public%3fx',
    '/%252e%252e/admin',
    '/%25%32%65',
    '/%25%32f',
    '/%2',
    '/%',
    '/%zz',
    '/%c0%ae%c0%ae/admin',
    '/%c0%af',
    '/%ff',
    '/a#b',
    '/a b',
    '/caf\u00e9',
    '*',
    '',
    'admin',
    'http://a/b',
  ]) {
    t.equal(plainPath(target), undefined, target);
  }
});
