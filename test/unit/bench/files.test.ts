import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { parseServed } from '../../../bench/backend.ts';
import { replaceSection } from '../../../bench/files.ts';

t.test('a section of the README is replaced between its comments', (t) => {
  const text = 'a\n<!-- bench: relay -->\nold\n<!-- bench: end of relay -->\nb\n';
  const once = replaceSection(text, 'relay', 'new\n');
  t.equal(once, 'a\n<!-- bench: relay -->\n\nnew\n\n<!-- bench: end of relay -->\nb\n');
  t.equal(replaceSection(once, 'relay', 'new\n'), once);
  t.throws(() => replaceSection(text, 'growth', ''), RangeError);
  t.end();
});

t.test('bench/README.md has a place for both', async (t) => {
  const readme = await readFile(join(import.meta.dirname, '../../../bench/README.md'), 'utf8');
  for (const kind of ['relay', 'growth']) t.match(replaceSection(readme, kind, 'here\n'), '-->\n\nhere\n\n<!--');
});

t.test('requests of stub_status', (t) => {
  const status =
    'Active connections: 2 \nserver accepts handled requests\n 16 16 3107 \nReading: 0 Writing: 1 Waiting: 1 \n';
  t.equal(parseServed(status), 3107);
  t.throws(() => parseServed('<html>'), TypeError);
  t.end();
});
