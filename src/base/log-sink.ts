import { constants, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { destination } from 'pino';
import { boundedSink, type LogSink } from './bounded-sink.ts';
import { systemClock } from './clock.ts';

let shared: LogSink | undefined;

/** Standard error, for lines of a log; one for the whole process. */
export function standardError(): LogSink {
  shared ??= open();
  return shared;
}

function open(): LogSink {
  const pipe = pipeOrSocket();
  // What is written to a file, or to nothing, gets there.
  return pipe === undefined ? destination({ dest: 2, sync: false }) : boundedSink(pipe, lostLine);
}

function lostLine(lines: number): string {
  const fields = {
    level: 40,
    time: new Date(systemClock.now()).toISOString(),
    event: 'log_lines_dropped',
    dropped: lines,
  };
  return `${JSON.stringify({ ...fields, msg: `${lines} lines of the log are missing here: its reader was too slow` })}\n`;
}

function pipeOrSocket(): Writable | undefined {
  const kind = fstatSync(2);
  if (!kind.isFIFO() && !kind.isSocket()) return undefined;
  // Opened anew the pipe never waits, whatever those do with it who share the other end of it with us, as a command that
  // `run` starts. A socket cannot be opened anew.
  try {
    const fd = openSync('/proc/self/fd/2', constants.O_WRONLY | constants.O_NONBLOCK);
    return new Socket({ fd, readable: false, writable: true }).unref();
  } catch {
    return process.stderr;
  }
}
