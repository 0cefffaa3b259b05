import { isDeepStrictEqual } from 'node:util';
import { type Document, isCollection, isSeq, type Node, parseDocument, Scalar, visit } from 'yaml';
import { SidelockError } from '../base/errors.ts';

type Edit = (object: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;

/**
 * A file of Kubernetes manifests (YAML or JSON, any number of documents) with each object changed by `edit`. Documents
 * that `edit` gives back as they are stay as they are, to the byte; in the others comments stay beside what stayed.
 * @throws SL-CFG-002 with file and line for what is no YAML
 */
export function editManifests(text: string, file: string, edit: Edit): string {
  let line = 0;
  return splitDocuments(text)
    .map((chunk) => {
      const edited = editDocument(chunk, { file, line }, edit);
      line += chunk.split('\n').length - 1;
      return edited;
    })
    .join('');
}

/** A line of three dashes begins a document wherever it stands, in a block of text too. */
function splitDocuments(text: string): string[] {
  return text.split(/^(?=---(?:[ \t\r]|$))/m).filter((chunk) => chunk !== '');
}

interface Place {
  readonly file: string;
  /** Lines before this document. */
  readonly line: number;
}

/** Deeper aliases than any manifest has. */
const MAX_ALIASES = 100;

function editDocument(chunk: string, { file, line }: Place, edit: Edit): string {
  const document = parseDocument(chunk, { schema: 'core', merge: true, prettyErrors: true });
  const [error] = document.errors;
  if (error !== undefined) {
    const at = line + (error.linePos?.[0].line ?? 1);
    throw new SidelockError('SL-CFG-002', `${file}:${at} is not YAML`, {
      why: error.message.split('\n', 1)[0],
      data: { file, line: at },
    });
  }
  const before: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
  if (typeof before !== 'object' || before === null || Array.isArray(before)) return chunk;
  const after = edit(before as Readonly<Record<string, unknown>>);
  if (after === before) return chunk;
  if (isJson(chunk)) return `${JSON.stringify(after, undefined, 2)}\n`;
  if (hasAliases(document)) document.contents = create(document, after);
  else patch(document, [], before, after);
  const indentSeq = !/^( *)[\w./-]+:[ \t]*\r?\n\1- /m.test(chunk);
  const flowCollectionPadding = !/(?:: |- )[[{][^\s\]}]/.test(chunk);
  return document.toString({ lineWidth: 0, indentSeq, flowCollectionPadding });
}

function isJson(text: string): boolean {
  try {
    return text.trimStart().startsWith('{') && isMap(JSON.parse(text));
  } catch {
    return false;
  }
}

/** What an alias stands for must not change with one of its places. */
function hasAliases(document: Document.Parsed): boolean {
  let found = false;
  visit(document, {
    Alias() {
      found = true;
      return visit.BREAK;
    },
  });
  return found;
}

type Path = ReadonlyArray<string | number>;

/** Changes as little of the document as makes it `after`, so that comments and quotes stay. */
function patch(document: Document.Parsed, path: Path, before: unknown, after: unknown): void {
  if (isDeepStrictEqual(before, after)) return;
  if (isMap(before) && isMap(after)) {
    for (const key of Object.keys(before)) if (!(key in after)) document.deleteIn([...path, key]);
    for (const [key, value] of Object.entries(after)) {
      if (key in before) patch(document, [...path, key], before[key], value);
      else document.setIn([...path, key], create(document, value));
    }
    return;
  }
  const list = document.getIn(path, true);
  if (Array.isArray(before) && Array.isArray(after) && isSeq(list)) {
    if (before.length === after.length) {
      for (const at of after.keys()) patch(document, [...path, at], before[at], after[at]);
      return;
    }
    const head = common(before, after, (all, at) => all[at]);
    const room = Math.min(before.length, after.length) - head;
    const tail = Math.min(
      room,
      common(before, after, (all, at) => all[all.length - 1 - at]),
    );
    const made = after.slice(head, after.length - tail).map((value) => create(document, value));
    list.items.splice(head, before.length - tail - head, ...made);
    if (before.length === 0) list.flow = false;
    return;
  }
  document.setIn(path, create(document, after));
}

/** How many items in a row are the same, counted by `pick`. */
function common(
  a: readonly unknown[],
  b: readonly unknown[],
  pick: (all: readonly unknown[], at: number) => unknown,
): number {
  const most = Math.min(a.length, b.length);
  for (let at = 0; at < most; at++) if (!isDeepStrictEqual(pick(a, at), pick(b, at))) return at;
  return most;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Text that the YAML 1.1 of kubectl might take for something else is put in quotes. */
function create(document: Document.Parsed, value: unknown): Node & Document.Parsed['contents'] {
  const node = document.createNode(value);
  visit(node, {
    Scalar(_, scalar) {
      if (typeof scalar.value === 'string' && !PLAIN.test(scalar.value)) scalar.type = Scalar.QUOTE_SINGLE;
    },
    Collection(_, collection) {
      if (isCollection(collection) && collection.items.length === 0) collection.flow = true;
    },
  });
  return node as Node & Document.Parsed['contents'];
}

const PLAIN = /^(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z/][\w./-]*$/i;
