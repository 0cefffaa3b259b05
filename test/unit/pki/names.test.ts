import fc from 'fast-check';
import t from 'tap';
import {
  checkServiceName,
  dnsNamesFor,
  parseSan,
  parseSpiffeId,
  serviceOf,
  serviceSpiffeId,
} from '../../../src/pki/names.ts';
import { failureOf } from '../../support/failure.ts';

t.test('a SPIFFE id is taken apart and nothing of it is changed', async (t) => {
  t.same(parseSpiffeId('spiffe://ai-teddy.local/ns/default/sa/web'), {
    uri: 'spiffe://ai-teddy.local/ns/default/sa/web',
    trustDomain: 'ai-teddy.local',
    path: '/ns/default/sa/web',
    segments: ['ns', 'default', 'sa', 'web'],
  });
  t.same(parseSpiffeId('spiffe://td_1'), { uri: 'spiffe://td_1', trustDomain: 'td_1', path: '', segments: [] });
  t.same(parseSpiffeId('spiffe://td/A.b_C-9/...').segments, ['A.b_C-9', '...'], 'letters keep their case');
  t.ok(Object.isFrozen(parseSpiffeId('spiffe://td/a')));
  const longest = `spiffe://td/${'a'.repeat(2036)}`;
  t.equal(parseSpiffeId(longest).uri.length, 2048);
  t.equal(parseSpiffeId(`spiffe://${'a'.repeat(255)}/x`).trustDomain.length, 255);
});

const REFUSED: Readonly<Record<string, readonly [string, RegExp]>> = {
  'other scheme': ['https://td/a', /scheme is not spiffe/],
  'no scheme': ['td/a', /scheme is not spiffe/],
  'upper-case scheme': ['SPIFFE://td/a', /spiffe:\/\/ in lower case/],
  'one slash': ['spiffe:/td/a', /spiffe:\/\//],
  empty: ['', /scheme/],
  query: ['spiffe://td/a?q', /query/],
  fragment: ['spiffe://td/a#f', /fragment/],
  port: ['spiffe://td:443/a', /port/],
  user: ['spiffe://u@td/a', /user/],
  'upper-case trust domain': ['spiffe://AI-Teddy/a', /upper-case/],
  'percent in the path': ['spiffe://td/%61', /percent/],
  'percent in the trust domain': ['spiffe://t%64/a', /percent/],
  'dot dot': ['spiffe://td/b/../a', /dot segment/],
  dot: ['spiffe://td/./a', /dot segment/],
  'trailing slash': ['spiffe://td/a/', /ends with a slash/],
  'slash alone': ['spiffe://td/', /ends with a slash/],
  'double slash': ['spiffe://td//a', /empty segment/],
  'no trust domain': ['spiffe:///a', /no trust domain/],
  'nothing after the scheme': ['spiffe://', /no trust domain/],
  'dot at the end of the trust domain': ['spiffe://td./a', /ends with a dot/],
  'empty label': ['spiffe://t..d/a', /empty label/],
  'more than 2048 bytes': [`spiffe://td/${'a'.repeat(2037)}`, /2049 bytes/],
  'trust domain of 256 bytes': [`spiffe://${'a'.repeat(256)}/x`, /256 bytes/],
  'character in the path': ['spiffe://td/a,b', /path holds other/],
  'colon in the path': ['spiffe://td/a:b', /path holds other/],
  'character in the trust domain': ['spiffe://t,d/a', /trust domain holds other/],
  NUL: ['spiffe://td/a\0', /control/],
  newline: ['spiffe://td/a\nb', /control/],
  space: ['spiffe://td/a b', /space/],
  'outside ASCII': ['spiffe://td/\u00e4', /outside ASCII/],
  backslash: ['spiffe://td\\a', /trust domain holds other/],
};

t.test('C46: each other form is refused with its own reason', async (t) => {
  for (const [name, [uri, why]] of Object.entries(REFUSED)) {
    const error = failureOf(() => parseSpiffeId(uri));
    t.equal(error.code, 'SL-NAME-001', name);
    t.match(error.why, why, name);
    t.match(error.message, /^[\x20-\x7e]{1,160}$/, `${name}: the message is one short printable line`);
  }
});

t.test('what parses holds only the characters of the specification', async (t) => {
  const alphabet = fc.string({ unit: fc.constantFrom(...'ab/.:@?#%A\\ \0-_9'), maxLength: 12 });
  fc.assert(
    fc.property(alphabet, (rest) => {
      const uri = `spiffe://${rest}`;
      try {
        const { trustDomain, path } = parseSpiffeId(uri);
        return (
          /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(trustDomain) &&
          /^(\/(?!\.{1,2}(\/|$))[\w.-]+)*$/.test(path) &&
          `spiffe://${trustDomain}${path}` === uri
        );
      } catch (error) {
        return (
          failureOf(() => {
            throw error;
          }).code === 'SL-NAME-001'
        );
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

t.test('ids of services', async (t) => {
  const names = { trustDomain: 'ai-teddy.local', namespace: 'shop', service: 'web' };
  const uri = serviceSpiffeId(names);
  t.equal(uri, 'spiffe://ai-teddy.local/ns/shop/sa/web');
  t.same(serviceOf(parseSpiffeId(uri)), { namespace: 'shop', service: 'web' });
  for (const other of ['', '/ns/shop', '/sa/web/ns/shop', '/ns/shop/sa/web/x', '/ns/Shop/sa/web', '/ns/a.b/sa/c']) {
    t.equal(serviceOf(parseSpiffeId(`spiffe://td${other}`)), undefined, other);
  }
  t.equal(failureOf(() => serviceSpiffeId({ ...names, trustDomain: 'td/ns/x' })).code, 'SL-NAME-001');
  t.equal(failureOf(() => serviceSpiffeId({ ...names, trustDomain: 'TD' })).code, 'SL-NAME-001');
  t.equal(failureOf(() => serviceSpiffeId({ ...names, service: 'web/../admin' })).code, 'SL-NAME-002');
  t.equal(failureOf(() => serviceSpiffeId({ ...names, namespace: '..' })).code, 'SL-NAME-002');
});

t.test('M37: a service name can be no option, path, separator, markup or second line', async (t) => {
  for (const good of ['a', '0', 'child-data-service', 'a--b', 'a'.repeat(63)]) {
    t.doesNotThrow(() => checkServiceName(good), good);
  }
  const bad = [
    ...['', '-a', 'a-', '--help', 'a'.repeat(64), 'A', 'a.b', 'a_b', 'a b', 'a/b', '..', '.', '../../etc', 'a\\b'],
    ...['x",evil', "x'", 'x;rm', '$(id)', '`id`', 'a\n', '\na', 'a\nb', 'a\0', 'a\r', '<img onerror>', 'a,b', 'a:b'],
    ...['a=b', '#a', 'a%2f', '__proto__', '\u00e4', '\u202e', 'a\u2028', '&a', '*a', '!a', '{a', '[a', 'a|b', '~'],
  ];
  for (const [i, name] of bad.entries()) {
    const error = failureOf(() => checkServiceName(name));
    t.equal(error.code, 'SL-NAME-002', `row ${i}`);
    t.match(error.message, /^[\x20-\x7e]+$/);
  }
});

t.test('names for certificates are exact', async (t) => {
  t.same(parseSan('web.ai-teddy.local'), { type: 'dns', value: 'web.ai-teddy.local' });
  t.same(parseSan('localhost'), { type: 'dns', value: 'localhost' });
  t.same(parseSan('10.0.0.1'), { type: 'ip', value: '10.0.0.1' });
  t.same(parseSan('::1'), { type: 'ip', value: '::1' });
  t.same(parseSan('2001:db8::1:0:0:1'), { type: 'ip', value: '2001:db8::1:0:0:1' });
  const rows: ReadonlyArray<readonly [string, RegExp]> = [
    ['', /empty/],
    ['*.ai-teddy.local', /wildcard/],
    ['a*.b', /wildcard/],
    ['web.ai-teddy.local.', /ends with a dot/],
    ['Web.local', /upper-case/],
    ['web.local:443', /port/],
    ['https://web', /URI/],
    ['a..b', /empty label/],
    ['.a', /empty label/],
    ['a_b.c', /no label/],
    ['-a.b', /no label/],
    [`${'a'.repeat(64)}.b`, /no label/],
    [`${'a.'.repeat(130)}b`, /261 characters/],
    ['a b', /no label/],
    ['a\nb', /no label/],
    ['a\0.b', /no label/],
    ['x", URI:spiffe://td/a, DNS:"y', /URI/],
    ['1.2.3', /number/],
    ['1.2.3.4.5', /number/],
    ['010.0.0.1', /number/],
    ['256.1.1.1', /number/],
    ['2001:DB8::1', /usual form is 2001:db8::1/],
    ['2001:db8:0:0:0:0:0:1', /usual form/],
    ['::ffff:1.2.3.4', /usual form is ::ffff:102:304/],
    ['fe80::1%eth0', /zone/],
    ['10.0.0.0/8', /no label/],
    ['[::1]', /no label/],
  ];
  for (const [text, why] of rows) {
    const error = failureOf(() => parseSan(text));
    t.equal(error.code, 'SL-NAME-003', `${error.why}`);
    t.match(error.why, why);
    t.match(`${error.message}${error.why}`, /^[\x20-\x7e]+$/);
  }
});

t.test('the DNS names of a service stand in one order, each once', async (t) => {
  t.same(dnsNamesFor({ service: 'web', namespace: 'default', trustDomain: 'ai-teddy.local' }), [
    'web',
    'web.ai-teddy.local',
    'web.ai-teddy.svc.cluster.local',
    'web.default.svc',
    'web.default.svc.cluster.local',
  ]);
  const names = dnsNamesFor({ service: 'web', namespace: 'ai-teddy', trustDomain: 'ai-teddy.svc' });
  t.same(names, ['web', 'web.ai-teddy.svc', 'web.ai-teddy.svc.cluster.local']);
  for (const name of names) t.equal(parseSan(name).type, 'dns');
});
