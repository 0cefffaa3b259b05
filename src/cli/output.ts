import type { WriteStream } from 'node:tty';
import { styleText } from 'node:util';
import { failureDocument, failureText } from './failure.ts';
import { createProgress, type Progress } from './progress.ts';

/** Signs that never carry a meaning alone: a word stands beside each. */
interface Signs {
  readonly ok: string;
  readonly warn: string;
  readonly fail: string;
  readonly to: string;
  readonly plain: string;
  readonly tls: string;
  readonly head: string;
  readonly dash: string;
}

const UNICODE: Signs = { ok: '✔', warn: '‼', fail: '✖', to: '→', plain: '──', tls: '══', head: '▶', dash: '…' };
const ASCII: Signs = {
  ok: '[ok]',
  warn: '[warn]',
  fail: '[fail]',
  to: '->',
  plain: '--',
  tls: '==',
  head: '>',
  dash: '...',
};

export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red';

/** The only way to standard output and error. Results go to the first, everything else to the second. */
export interface Output {
  /** True with `--format json`. */
  readonly json: boolean;
  readonly signs: Signs;
  /** Columns of the terminal that results go to; undefined in a pipe. */
  readonly width: number | undefined;
  readonly progress: Progress;
  /** The result of a command: a document with `--format json`, else text. */
  result(document: object, text: () => string): void;
  /** Text for people on standard output; nothing with `--format json`. */
  print(text: string): void;
  /** Exactly these bytes on standard output, for other programs to take. */
  raw(text: string): void;
  /** A line for people on standard error; nothing with `--format json`. */
  note(text: string): void;
  warn(text: string): void;
  failure(error: unknown): void;
  style(style: Style, text: string): string;
}

interface OutputOptions {
  readonly json: boolean;
  readonly color: 'auto' | 'always' | 'never';
  readonly ascii: boolean;
  readonly verbose: boolean;
  readonly stdout: WriteStream;
  readonly stderr: WriteStream;
}

export function createOutput({ json, color, ascii, verbose, stdout, stderr }: OutputOptions): Output {
  const signs = ascii ? ASCII : UNICODE;
  const paint = (stream: WriteStream) => (style: Style, text: string) =>
    color === 'auto'
      ? styleText(style, text, { stream, validateStream: true })
      : color === 'always'
        ? styleText(style, text, { validateStream: false })
        : text;
  const onOut = paint(stdout);
  const onErr = paint(stderr);
  const progress = createProgress({ stream: stderr, quiet: json });
  const write = (stream: WriteStream, text: string) => {
    progress.clear();
    stream.write(text);
  };

  return {
    json,
    signs,
    width: stdout.isTTY ? stdout.columns : undefined,
    progress,
    result(document, text) {
      write(stdout, json ? `${JSON.stringify(document, undefined, 2)}\n` : text());
    },
    print(text) {
      if (!json) write(stdout, `${text}\n`);
    },
    raw: (text) => write(stdout, text),
    note(text) {
      if (!json) write(stderr, `${text}\n`);
    },
    warn(text) {
      write(stderr, json ? `${JSON.stringify({ warning: text })}\n` : `${onErr('yellow', signs.warn)} ${text}\n`);
    },
    failure(error) {
      const style = { mark: onErr('red', signs.fail), dim: (text: string) => onErr('dim', text), verbose };
      write(stderr, json ? `${JSON.stringify(failureDocument(error))}\n` : failureText(error, style));
    },
    style: onOut,
  };
}

/** True where the locale says that the terminal does not show UTF-8. */
export function needsAscii(env: Readonly<Record<string, string | undefined>>): boolean {
  const locale = env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '';
  return !/utf-?8/i.test(locale);
}
