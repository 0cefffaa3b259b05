import { createLogger, type Logger, type LogLevel } from '../base/log.ts';
import { standardError } from '../base/log-sink.ts';
import type { Output } from './output.ts';

interface LoggingOptions {
  readonly level: LogLevel;
  /** Put before each line for people, as in `sidelock: `. */
  readonly prefix?: string;
  /** Lines for people even where standard error is no terminal. */
  readonly people?: boolean;
}

/** JSON lines on standard error; sentences when a person looks at it. */
export function createLogging(output: Output, { level, prefix = '', people = false }: LoggingOptions): Logger {
  if (output.json || !(people || process.stderr.isTTY === true)) return createLogger({ level });
  const note = process.stderr.isTTY === true ? output.note : (text: string) => standardError().write(`${text}\n`);
  return createLogger({ level, stream: { write: (line) => note(`${prefix}${sentence(line, output)}`) } });
}

const WARN = 40;
const ERROR = 50;

interface LogLine {
  readonly level: number;
  readonly msg?: string;
  readonly reason?: string;
  readonly fix?: string;
  readonly err?: { readonly message?: string };
}

function sentence(line: string, { signs }: Output): string {
  const { level, msg = '', err, fix } = JSON.parse(line) as LogLine;
  const mark = level >= ERROR ? `${signs.fail} ` : level >= WARN ? `${signs.warn} ` : '';
  const cause = err?.message === undefined || msg.includes(err.message) ? '' : `: ${err.message}`;
  return `${mark}${msg}${cause}${fix === undefined ? '' : `\n  fix  ${fix}`}`;
}
