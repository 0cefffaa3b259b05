import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { table } from './table.ts';

const KINDS = ['counter', 'gauge', 'histogram'];
/** Whose metrics the files of a folder count; the first that fits. */
const PROGRAMS = [
  ['manager/', 'manager'],
  ['kubernetes/webhook', 'webhook'],
  ['kubernetes/watch', 'manager, webhook'],
  ['sidecar/', 'sidecar'],
  ['cli/reload', 'sidecar'],
  ['cli/manager-replica', 'manager'],
] as const;
const source = join(import.meta.dirname, '../../../src');

/** Every metric that the source makes, by the program that has it. One in a file we cannot place throws. */
export function metricsTable(): string {
  const rows = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && path !== 'base/metrics.ts')
    .toSorted()
    .flatMap(metricsOf)
    .toSorted(([a = '', b = ''], [c = '', d = '']) => (a + b < c + d ? -1 : 1));
  return table(['program', 'metric', 'kind', 'labels', 'what it says'], rows);
}

function metricsOf(path: string): string[][] {
  const file = ts.createSourceFile(path, readFileSync(join(source, path), 'utf8'), ts.ScriptTarget.Latest, true);
  const rows: string[][] = [];
  const visit = (node: ts.Node) => {
    ts.forEachChild(node, visit);
    if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return;
    const kind = node.expression.name.text;
    const [name, help, ...more] = node.arguments;
    if (!KINDS.includes(kind) || name === undefined || !ts.isStringLiteral(name)) return;
    if (help === undefined || !ts.isStringLiteral(help)) throw new TypeError(`${path}: ${name.text} has no sentence`);
    const [, program] = PROGRAMS.find(([folder]) => path.startsWith(folder)) ?? [];
    if (program === undefined) throw new RangeError(`${path}: whose metric is ${name.text}?`);
    const labels = more[kind === 'histogram' ? 1 : 0];
    const names = labels === undefined ? [] : texts(labels, file);
    rows.push([program, `\`${name.text}\``, kind, names.map((label) => `\`${label}\``).join(', '), help.text]);
  };
  visit(file);
  return rows;
}

/** The texts of a list, following constants of the file and spreads of them. */
function texts(node: ts.Expression, file: ts.SourceFile): string[] {
  if (ts.isAsExpression(node)) return texts(node.expression, file);
  if (ts.isStringLiteral(node)) return [node.text];
  if (ts.isSpreadElement(node)) return texts(node.expression, file);
  if (ts.isArrayLiteralExpression(node)) return node.elements.flatMap((element) => texts(element, file));
  if (!ts.isIdentifier(node)) throw new TypeError(`${file.fileName}: labels are not a list of texts`);
  let found: string[] | undefined;
  const visit = (inner: ts.Node) => {
    if (ts.isVariableDeclaration(inner) && inner.initializer !== undefined && inner.name.getText() === node.text) {
      found = texts(inner.initializer, file);
    } else ts.forEachChild(inner, visit);
  };
  visit(file);
  if (found === undefined) throw new TypeError(`${file.fileName}: ${node.text} is not a constant of the file`);
  return found;
}
