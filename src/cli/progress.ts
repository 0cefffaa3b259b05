import type { WriteStream } from 'node:tty';

/** What takes long enough to be told: a line that is rewritten on a terminal, plain lines elsewhere. */
export interface Progress {
  /** Shows `text` while `work` runs, once it has lasted a moment. */
  during<T>(text: string, work: () => Promise<T>): Promise<T>;
  /** What is being done now, in place of what was told before. */
  tell(text: string): void;
  /** Removes the line, before something else is written. */
  clear(): void;
}

interface ProgressOptions {
  readonly stream: WriteStream;
  readonly quiet: boolean;
  /** Work that is done sooner is not told; 300 unless given. */
  readonly delayMs?: number;
}

const FRAME_MS = 100;
const FRAMES = '|/-\\';

export function createProgress({ stream, quiet, delayMs = 300 }: ProgressOptions): Progress {
  let text: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let shown = false;

  const clear = () => {
    if (shown && stream.isTTY) stream.write('\r\u001b[K');
    shown = false;
  };
  const draw = (frame: number) => {
    if (text === undefined) return;
    if (stream.isTTY) stream.write(`\r${FRAMES[frame % FRAMES.length]} ${text}\u001b[K`);
    else if (!shown) stream.write(`${text}\n`);
    shown = true;
    // Nothing moves where lines cannot be rewritten.
    if (stream.isTTY) timer = setTimeout(draw, FRAME_MS, frame + 1).unref();
  };
  const start = (next: string) => {
    clearTimeout(timer);
    if (shown && !stream.isTTY) shown = false;
    text = next;
    if (!quiet) timer = setTimeout(draw, shown ? 0 : delayMs, 0).unref();
  };
  const end = () => {
    clearTimeout(timer);
    clear();
    text = undefined;
  };

  return {
    async during(next, work) {
      start(next);
      try {
        return await work();
      } finally {
        end();
      }
    },
    tell(next) {
      if (text !== undefined) start(next);
    },
    clear,
  };
}
