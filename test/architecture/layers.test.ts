import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { cruise, type ICruiseResult, type IFlattenedRuleSet } from 'dependency-cruiser';
import t from 'tap';

const here = import.meta.dirname;
const rules: { forbidden: NonNullable<IFlattenedRuleSet['forbidden']>; options: object } = createRequire(
  import.meta.url,
)('./rules.cjs');

/** What dependency-cruiser finds under `directory`/src, as `file: rule`. */
async function violations(directory: string): Promise<string[]> {
  const { output } = await cruise(['src'], {
    ...rules.options,
    baseDir: directory,
    validate: true,
    ruleSet: { forbidden: rules.forbidden },
  });
  if (typeof output === 'string') throw new TypeError('dependency-cruiser answered with text');
  return unique((output satisfies ICruiseResult).summary.violations.map(({ from, rule }) => `${from}: ${rule.name}`));
}

/** What the files of the fixture say they break, in the same form. */
async function planted(directory: string): Promise<string[]> {
  const files = await readdir(join(directory, 'src'), { recursive: true });
  const found = await Promise.all(
    files
      .filter((file) => file.endsWith('.ts'))
      .map(async (file) => {
        const text = await readFile(join(directory, 'src', file), 'utf8');
        const name = /^\/\/ breaks (\S+)\n/.exec(text)?.[1];
        return name === undefined ? [] : [`src/${file}: ${name}`];
      }),
  );
  return unique(found.flat());
}

function unique(lines: readonly string[]): string[] {
  return [...new Set(lines)].sort();
}

t.test('each rule fires on the file that breaks it and on no other', async (t) => {
  const fixture = join(here, 'fixture');
  const expected = await planted(fixture);
  t.strictSame(await violations(fixture), expected);
  const names = rules.forbidden.map((rule) => rule.name);
  t.strictSame(unique(expected.map((line) => line.replace(/^.*: /, ''))), unique(names.map(String)));
});

t.test('src keeps every rule', async (t) => {
  t.strictSame(await violations(join(here, '../..')), []);
});

t.test('each rule says why', (t) => {
  for (const { name, comment } of rules.forbidden) t.match(comment, /\S+ \S+ \S+/, String(name));
  t.end();
});
