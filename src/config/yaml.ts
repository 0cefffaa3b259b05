import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { SidelockError } from '../base/errors.ts';
import type { Path } from './setting.ts';

interface Position {
  readonly line: number;
  readonly column: number;
}

interface YamlFile {
  readonly value: unknown;
  readonly problems: readonly SidelockError[];
  /** False when part of the file could not be read, so that what seems missing may stand there. */
  readonly whole: boolean;
  /** Where the key or list item stands; undefined when the file has no such thing. */
  locate(path: Path): Position | undefined;
}

const MAX_LENGTH = 1 << 20;
/** Each alias may be used, but a file of nested ones that grows on expansion is refused. */
const MAX_ALIASES = 100;

/** Reads one YAML 1.2 document of the core schema: no custom tags, no merge keys, no key given twice. */
export function readYaml(text: string, file: string): YamlFile {
  if (text.length > MAX_LENGTH) {
    return broken([new SidelockError('SL-CFG-002', `${file} is not a config file: it is longer than 1 MiB`)]);
  }
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, { lineCounter: lines, schema: 'core', prettyErrors: false });
    const problems = [...document.errors, ...document.warnings].map(({ code, message, pos: [start] }) => {
      const { line, col } = lines.linePos(start);
      const what = code === 'DUPLICATE_KEY' ? `${wordAt(text, start)}: this key is given twice` : message;
      return new SidelockError('SL-CFG-002', `${file}:${line}:${col} ${what}`, { data: { file, line, column: col } });
    });
    return {
      value: document.toJS({ maxAliasCount: MAX_ALIASES }) ?? {},
      problems,
      whole: document.errors.every(({ code }) => code === 'DUPLICATE_KEY'),
      locate: (path) => locate(document, lines, path),
    };
  } catch (error) {
    // Excessive aliases and nesting deeper than the stack are thrown, not listed.
    const why = 'aliases or nesting expand beyond every limit';
    return broken([new SidelockError('SL-CFG-002', `${file} cannot be read as YAML`, { why, cause: error })]);
  }
}

function broken(problems: readonly SidelockError[]): YamlFile {
  return { value: {}, problems, whole: false, locate: () => undefined };
}

function wordAt(text: string, start: number): string {
  return /^[^\s:]*/.exec(text.slice(start, start + 100))?.[0] ?? '';
}

function locate(document: Document.Parsed, lines: LineCounter, path: Path): Position | undefined {
  let node: unknown = document.contents;
  let start = isNode(node) ? node.range?.[0] : undefined;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === part);
      if (pair === undefined) return undefined;
      start = isNode(pair.key) ? pair.key.range?.[0] : start;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      if (!isNode(node)) return undefined;
      start = node.range?.[0];
    } else return undefined;
  }
  if (start === undefined) return undefined;
  const { line, col } = lines.linePos(start);
  return { line, column: col };
}
