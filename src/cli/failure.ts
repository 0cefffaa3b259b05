import { inspect } from 'node:util';
import { type ErrorCode, SidelockError, SidelockErrors } from '../base/errors.ts';
import { scrub } from '../base/log.ts';

/** 0 ok · 1 failed or refused · 2 usage or config · 3 not reachable, retry helps · 4 not permitted · 126, 127 as shells. */
export function exitCodeOf(error: unknown): number {
  const [first] = errorsOf(error);
  if (first === undefined) return 1;
  const { code, data } = first;
  if (code === 'SL-RUN-001') return data['system'] === 'ENOENT' ? 127 : 126;
  if (/^SL-(?:USAGE|CFG|ENV)-/.test(code)) return 2;
  return EXIT_CODES[code] ?? 1;
}

const EXIT_CODES: { readonly [C in ErrorCode]?: number } = {
  'SL-MGR-001': 3,
  'SL-ADMIN-001': 3,
  'SL-API-003': 3,
  'SL-API-002': 4,
};

interface FailureStyle {
  /** `✖` or `[fail]` */
  readonly mark: string;
  /** How labels look on this stream. */
  readonly dim: (text: string) => string;
  readonly verbose: boolean;
}

/** What failed, why, what to do, and the code to look up: a block for each error. */
export function failureText(error: unknown, { mark, dim, verbose }: FailureStyle): string {
  const errors = errorsOf(error);
  const blocks = errors.map(({ message, why, fix, code }) =>
    [
      `${mark} ${printable(message)}`,
      ...(why === undefined ? [] : [`  ${dim('why')}  ${printable(why)}`]),
      `  ${dim('fix')}  ${printable(fix)}`,
      `  ${dim('code')} ${code}   ${dim('docs')} sidelock explain ${code}`,
    ].join('\n'),
  );
  if (errors.length === 0) blocks.push(`${mark} unexpected: ${printable(messageOf(error))}`);
  if (errors.length > 1) blocks.push(`${errors.length} problems`);
  if (verbose) blocks.push(scrub(inspect(error)));
  return `${blocks.join('\n')}\n`;
}

/** The same for machines. Several errors: the first one, and all of them under `errors`. */
export function failureDocument(error: unknown): object {
  const documents = errorsOf(error).map(({ code, message, why, fix, data }) => ({
    code,
    message: scrub(message),
    ...(why === undefined ? {} : { why: scrub(why) }),
    fix: scrub(fix),
    docs: `sidelock explain ${code}`,
    details: data,
  }));
  const [first = { code: 'unexpected', message: scrub(messageOf(error)) }] = documents;
  return { error: documents.length > 1 ? { ...first, errors: documents } : first };
}

function errorsOf(error: unknown): readonly SidelockError[] {
  if (error instanceof SidelockErrors) return error.errors;
  return error instanceof SidelockError ? [error] : [];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal must not get from a file or peer.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text from anywhere as one line that cannot move the cursor, colour the screen, or reorder what is read. */
export function printable(text: string): string {
  return scrub(text).replace(UNPRINTABLE, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
