import t from 'tap';
import { withWord } from '../../../src/config/edit.ts';

const PATH = ['inbound', 1, 'mode'];
const strict = (text: string) => withWord(text, 'c.yaml', PATH, 'strict');

t.test('one word changes, and nothing else', (t) => {
  const file = (mode: string) => `# who: us
inbound:
  - { listen: 1, mode: permissive }   # stays
  - listen:   2
    mode:     ${mode}   # on the way
    allow: [  web,"ops" ]
`;
  t.equal(strict(file('permissive')), file('strict'));
  t.equal(strict(file('"permissive"')), file('strict'));
  t.equal(strict(file('strict')), file('strict'));
  t.equal(
    strict('inbound: [{}, { listen: 2, mode: permissive, allow: any }]'),
    'inbound: [{}, { listen: 2, mode: strict, allow: any }]',
  );
  t.end();
});

t.test('a key that is not there is added to its block', (t) => {
  t.equal(
    strict('inbound:\n- listen: 1\n- # second\n  listen: 2\n  allow: any\n'),
    'inbound:\n- listen: 1\n- # second\n  mode: strict\n  listen: 2\n  allow: any\n',
  );
  t.equal(strict('inbound: [{}, { listen: 2 }]'), 'inbound: [{}, { mode: strict, listen: 2 }]');
  t.end();
});

t.test('what cannot be edited for sure is left alone', (t) => {
  const refused = { code: 'SL-CFG-006', fix: /inbound\[1\]\.mode: strict/ };
  t.throws(() => strict('x: &a { mode: permissive }\ninbound: [{}, *a]'), refused, 'an alias: others would change too');
  t.throws(() => strict('m: &m permissive\ninbound: [{}, { mode: *m }]'), refused);
  t.throws(() => strict('inbound: [{}]'), refused);
  t.throws(() => strict('inbound: [{}, {}]'), refused);
  t.throws(() => strict('inbound: [{}, { mode: [permissive] }]'), refused);
  t.throws(() => strict('inbound: [{}, { mode: &m permissive, more: *m }]'), refused);
  t.end();
});
