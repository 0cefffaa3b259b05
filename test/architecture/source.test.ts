import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';

interface Habit {
  readonly name: string;
  /** What must not occur in a line of code. */
  readonly banned: RegExp;
  /** The files, relative to src/, in which it may. */
  readonly except?: RegExp;
  /** A line that breaks it, so that the expression is known to work. */
  readonly planted: string;
}

const HABITS: readonly Habit[] = [
  {
    name: 'the time comes from the Clock that was passed in',
    banned: /\bDate\.now\b|\bnew Date\(\)/,
    except: /^base\/clock\.ts$/,
    planted: 'const now = Date.now();',
  },
  {
    name: 'jitter comes from the Random that was passed in',
    banned: /\bMath\.random\b/,
    except: /^base\/clock\.ts$/,
    planted: 'delay * Math.random()',
  },
  {
    name: 'bytes go through pipeline or the relay: pipe() forgets errors',
    banned: /\.pipe\(/,
    planted: 'a.pipe(b)',
  },
  {
    name: 'argv and the environment are read by cli only',
    banned: /\bprocess\.(env|argv)\b/,
    except: /^cli\//,
    planted: "process.env['HOME']",
  },
  {
    name: 'each file imports modules, never a barrel of its folder',
    banned: /from '\.[^']*\/index\.ts'/,
    planted: "import { x } from '../pki/index.ts';",
  },
];

const src = join(import.meta.dirname, '../../src');
const MAX_LINES = 400;
/** One table, longer with each code. */
const TABLES: readonly string[] = ['base/errors.ts'];

t.test('habits of the source', async (t) => {
  const files = (await readdir(src, { recursive: true })).filter((file) => file.endsWith('.ts'));
  const texts = await Promise.all(files.map(async (file) => ({ file, text: await readFile(join(src, file), 'utf8') })));

  for (const { name, banned, except, planted } of HABITS) {
    t.match(planted, banned, `fires on: ${planted}`);
    const broken = texts
      .filter(({ file }) => except?.test(file) !== true)
      .flatMap(({ file, text }) =>
        text
          .split('\n')
          .flatMap((line, i) => (banned.test(withoutComment(line)) ? [`src/${file}:${i + 1}: ${line.trim()}`] : [])),
      );
    t.strictSame(broken, [], name);
  }

  const long = texts
    .filter(({ file, text }) => text.split('\n').length > MAX_LINES + 1 && !TABLES.includes(file))
    .map(({ file }) => file);
  t.strictSame(long, [], `no file is longer than ${MAX_LINES} lines: one idea each`);
});

function withoutComment(line: string): string {
  return line.replace(/^\s*(\/?\*|\/\/).*/, '').replace(/\s\/\/ .*/, '');
}
