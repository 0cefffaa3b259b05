import t from 'tap';
import { parse } from 'yaml';
import { isSidelockError } from '../../../src/base/errors.ts';
import { editManifests } from '../../../src/config/manifest.ts';

type Json = Readonly<Record<string, unknown>>;
const touch = (object: Json): Json =>
  object['kind'] === 'Mine' ? { ...object, list: ['new', ...list(object)] } : object;
const list = ({ list: found }: Json): unknown[] => (Array.isArray(found) ? found : []);
const edited = (text: string) => editManifests(text, 'a.yaml', touch);

t.test('documents that are not edited stay to the byte', async (t) => {
  for (const text of [
    '',
    '# nothing\n',
    '---\n---\n\n',
    'kind:   Odd  # so\nlist: [ 1,2 ]\n',
    'kind: A\r\n---\r\nkind: B\r\n',
    'text: |\n  --- not a document\n---   # c\nb: "x"',
    '[1, 2]\n---\njust text\n',
    '{"kind":"A","list":[1]}',
  ]) {
    t.equal(edited(text), text, JSON.stringify(text));
  }
});

t.test('in an edited one what was not touched keeps comments, quotes and style', async (t) => {
  const before = `# head\nkind: Mine # here\nquoted: "yes"\nflow: {a: 1}\nlist:\n- 'old' # why\n---\nkind:   Odd\n`;
  t.equal(
    edited(before),
    `# head\nkind: Mine # here\nquoted: "yes"\nflow: {a: 1}\nlist:\n- new\n- 'old' # why\n---\nkind:   Odd\n`,
  );
});

t.test('text that an older YAML takes for something else is quoted', async (t) => {
  const values = ['yes', 'on', 'n', 'null', '1', '0x1f', '1e3', '12:30', '', ' x', 'a: b', '#', '-', '~', 'plain/word'];
  const text = editManifests('kind: Mine\n', 'x', (object) => ({ ...object, values }));
  t.same(parse(text, { version: '1.1' }).values, values);
  t.match(text, /- plain\/word\n/);
});

t.test('JSON stays JSON, and aliases stand for what they stood for', async (t) => {
  t.same(JSON.parse(edited('{"kind":"Mine","list":["yes"]}')), { kind: 'Mine', list: ['new', 'yes'] });
  const shared = edited('kind: Mine\nother: &x [1]\nlist: *x\nmap: {<<: {b: 2}, a: 1}\n');
  t.match(parse(shared, { merge: true }), { other: [1], list: ['new', 1], map: { a: 1, b: 2 } });
});

t.test('what is no YAML is named by file and line', async (t) => {
  try {
    edited('kind: A\n---\nkind: B\nlist: [1\n');
    t.fail('accepted');
  } catch (error) {
    t.ok(isSidelockError(error, 'SL-CFG-002'));
    t.match(error, { message: /^a\.yaml:\d+ is not YAML$/, data: { file: 'a.yaml' } });
  }
});
