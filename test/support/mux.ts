import type { LinkUser, WriteResult } from '../../src/sidecar/link.ts';
import { HEADER_SIZE, writeHeader } from '../../src/sidecar/mux/frame.ts';
import { Session, type SessionOptions } from '../../src/sidecar/mux/session.ts';
import type { MuxStream } from '../../src/sidecar/mux/stream.ts';

/** A session without sockets, and all it did. */
export function bareSession(options: Partial<SessionOptions> & { readonly client: boolean }) {
  const accepted: MuxStream[] = [];
  const closed: string[] = [];
  const session: Session = new Session({
    now: 0,
    maxStreams: 100,
    idleMs: 300_000,
    ...options,
    user: {
      accepted: (stream) => accepted.push(stream),
      output() {},
      full() {},
      closed: (reason) => closed.push(reason),
      ...options.user,
    },
  });
  return {
    session,
    accepted,
    closed,
    /** What it would send by the end of the next loop turn. */
    output(): Buffer {
      // A SYN waits for one more turn.
      session.announce();
      session.announce();
      const out = session.outbox.take();
      const bytes = Buffer.from(out?.bytes ?? '');
      out?.done();
      session.serve();
      return bytes;
    },
  };
}

export type Bare = ReturnType<typeof bareSession>;

/** Carries bytes both ways until neither side has any left. */
export function exchange(a: Bare, b: Bare): void {
  for (;;) {
    const [fromA, fromB] = [a.output(), b.output()];
    if (fromA.length + fromB.length === 0) return;
    b.session.receive(fromA);
    a.session.receive(fromB);
  }
}

export function frame(type: number, flags: number, id: number, length: number, payload = ''): Buffer {
  const bytes = Buffer.alloc(HEADER_SIZE + payload.length, payload.padStart(HEADER_SIZE + payload.length), 'latin1');
  writeHeader(bytes, 0, type, flags, id, length);
  return bytes;
}

/** The frames in `bytes`: type, flags, id, length; payloads are left out. */
export function framesIn(bytes: Buffer): number[][] {
  const frames: number[][] = [];
  for (let at = 0; at < bytes.length; ) {
    const type = bytes.readUInt8(at + 1);
    const length = bytes.readUInt32BE(at + 8);
    frames.push([type, bytes.readUInt16BE(at + 2), bytes.readUInt32BE(at + 4), length]);
    at += HEADER_SIZE + (type === 0 ? length : 0);
  }
  return frames;
}

/** A user of a stream that keeps what it gets. `reading` can be turned off. */
export class Reader implements LinkUser {
  readonly chunks: Buffer[] = [];
  reading = true;
  endedTimes = 0;
  writtenTimes = 0;
  readonly closedWith: Array<Error | undefined> = [];
  readonly #space: Buffer;

  constructor(spaceSize = 1024) {
    this.#space = Buffer.alloc(spaceSize);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.bytes.toString('latin1');
  }

  space(): Buffer {
    return this.#space;
  }

  filled(n: number): boolean {
    this.chunks.push(Buffer.from(this.#space.subarray(0, n)));
    return this.reading;
  }

  ended(): void {
    this.endedTimes++;
  }

  written(): void {
    this.writtenTimes++;
  }

  closed(error: Error | undefined): void {
    this.closedWith.push(error);
  }
}

/** Opens `stream` with a new reader. */
export function read(stream: MuxStream, reading = true): Reader {
  const reader = new Reader();
  reader.reading = reading;
  stream.open(reader);
  return reader;
}

export function write(stream: MuxStream, text: string): WriteResult {
  return stream.write(Buffer.from(text, 'latin1'));
}
