import { createLogger, type Logger } from '../../../src/base/log.ts';

/** A logger whose lines a test can look at. */
export function recordingLogger(): { log: Logger; lines: Array<Record<string, unknown>>; events: () => unknown[] } {
  const lines: Array<Record<string, unknown>> = [];
  const log = createLogger({ level: 'trace', stream: { write: (line: string) => lines.push(JSON.parse(line)) } });
  return { log, lines, events: () => lines.map((line) => line['event']) };
}
