import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t from 'tap';
import { ERROR_PAGES } from '../../src/base/errors.ts';
import { DOCUMENTS, FILES, GENERATED, generate, root } from '../support/docs.ts';
import { heldBy } from '../support/reference/threats.ts';

t.test('the table of error codes is that of the source, both ways', async (t) => {
  const page = await read('docs/reference/errors.md');
  const listed = [...page.matchAll(/^\| `(SL-[A-Z]+-\d+)` \|/gm)].map(([, code]) => code);
  t.strictSame(listed, Object.keys(ERROR_PAGES));
});

t.test('generated parts are current: else run npm run docs', async (t) => {
  for (const [file, content] of Object.entries(FILES)) {
    t.equal(await readFile(join(root, file), 'utf8'), content(), `${file} is up to date: npm run docs`);
  }
  for (const document of GENERATED) {
    const text = await read(document);
    t.equal(generate(text), text, document);
  }
});

t.test('every attack of the table is held by a test that names it', async (t) => {
  const nobody = [...heldBy()].filter(([, files]) => files.length === 0);
  t.strictSame(
    nobody.map(([id]) => id),
    [],
  );
});

t.test('documents name only files, scripts and codes that exist', async (t) => {
  const { scripts }: { scripts: Record<string, string> } = JSON.parse(await read('package.json'));
  const files = await sources();
  for (const document of DOCUMENTS) {
    const text = await read(document);
    const paths = all(text, /`((?:[\w.-]+\/)*[\w.-]+\.(?:ts|cjs|sh)|(?:src|test|bench|config|\.ci)\/[\w./-]*)`/g);
    t.strictSame(
      paths.filter((path) => !existsSync(join(root, path)) && !files.some((file) => `/${file}`.endsWith(`/${path}`))),
      [],
      `${document}: paths`,
    );
    const runs = all(text, /\bnpm run (?:-s |--silent )?([a-z][a-z:-]*)/g);
    t.strictSame(
      runs.filter((name) => scripts[name] === undefined),
      [],
      `${document}: scripts`,
    );
    const codes = all(text, /\b(SL-[A-Z]+-\d+)\b/g);
    t.strictSame(
      codes.filter((code) => !(code in ERROR_PAGES)),
      [],
      `${document}: codes`,
    );
  }
});

t.test('links lead to files that exist, and to headings they have', async (t) => {
  for (const document of DOCUMENTS) {
    const links = all(await read(document), /\]\((?!https?:)([^)\s]+)\)/g);
    for (const link of links) {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? document : join(dirname(document), path);
      t.ok(existsSync(join(root, target)), `${document}: ${link}`);
      if (anchor !== undefined) t.ok(headings(await read(target)).includes(anchor), `${document}: ${link}`);
    }
  }
});

t.test('every document of docs/ can be found from its index', async (t) => {
  const index = all(await read('docs/README.md'), /\]\(([^)\s]+)\)/g).map((link) => join('docs', link));
  const pages = DOCUMENTS.filter((path) => path.startsWith('docs/') && path !== 'docs/README.md');
  t.strictSame(
    pages.filter((path) => !index.includes(path)),
    [],
  );
});

t.test('each alert has its runbook', async (t) => {
  const alerts = all(await read('k8s/prometheus-rule.yaml'), /- alert: (\w+)/g);
  const runbooks = all(await read('docs/runbooks.md'), /^## (\w+)$/gm);
  t.strictSame(runbooks, alerts);
});

/** As the hosts of repositories make anchors of them. */
function headings(text: string): string[] {
  return all(text, /^#+ (.*)$/gm).map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-'),
  );
}

function read(path: string): Promise<string> {
  return readFile(join(root, path), 'utf8');
}

/** Documents call a file by as much of its path as tells it from others. */
async function sources(): Promise<string[]> {
  const folders = ['src', 'test', 'bench'].map(async (folder) =>
    (await readdir(join(root, folder), { recursive: true })).map((path) => `${folder}/${path}`),
  );
  return (await Promise.all(folders)).flat();
}

function all(text: string, expression: RegExp): string[] {
  return [...text.matchAll(expression)].map((found) => found[1] ?? '');
}
