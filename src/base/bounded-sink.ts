import type { Writable } from 'node:stream';

export interface LogSink {
  /** One line with its end. Never waits: what the reader leaves no room for is dropped, and counted. */
  write(line: string): void;
}

/** Bytes that wait for a reader who is slow, or stuck. */
const MAX_WAITING = 1 << 20;

let dropped = 0;

/** Writes to `stream` as long as its reader keeps up; `lost` makes the line that says afterwards how many are missing. */
export function boundedSink(stream: Writable, lost: (lines: number) => string, max = MAX_WAITING): LogSink {
  let missing = 0;
  let broken = false;
  // Without its reader the log is lost, and the process serves on.
  stream.on('error', () => {
    broken = true;
  });
  stream.on('drain', () => {
    if (missing === 0) return;
    stream.write(lost(missing));
    missing = 0;
  });
  return {
    write(line) {
      if (broken || stream.writableLength + line.length > max) {
        missing++;
        dropped++;
        return;
      }
      stream.write(line);
    },
  };
}

/** How many lines nobody took, since the process began. */
export function droppedLines(): number {
  return dropped;
}
