import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect } from 'node:tls';
import type { Test } from 'tap';
import type { Trio } from './identity-files.ts';

export const TYPES = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A field line; a request head is a list of them, sent as it is. */
export type FieldLine = readonly [name: string, value: string];

export const GET: readonly FieldLine[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'a'],
  [':path', '/'],
];
export const POST: readonly FieldLine[] = [[':method', 'POST'], ...GET.slice(1)];

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Literal field lines that are never indexed, without Huffman: the bytes are what is meant (RFC 7541 6.2.3). */
export function fieldBlock(fields: readonly FieldLine[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0x10]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const length: number[] = [];
  if (bytes.length < 127) length.push(bytes.length);
  else {
    length.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** A client that sends the frames it is told to, over mTLS with ALPN h2; or in plaintext without `identity`. */
export async function rawHttp2(
  t: Pick<Test, 'teardown'>,
  port: number,
  identity: Trio | undefined,
  { settings = Buffer.alloc(0), preface = true } = {},
) {
  const tcp = connectTcp({ port, host: '127.0.0.1', noDelay: true });
  tcp.on('error', () => {});
  const socket =
    identity === undefined
      ? tcp
      : connect({ socket: tcp, ...identity, ALPNProtocols: ['h2'], checkServerIdentity: () => undefined });
  socket.on('error', () => {});
  await once(socket, identity === undefined ? 'connect' : 'secureConnect');
  t.teardown(() => socket.destroy());
  const frames: Frame[] = [];
  let rest = Buffer.alloc(0);
  let over = false;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const resolve of waiting) resolve();
    waiting.clear();
  };
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const length = rest.readUIntBE(0, 3);
      const [type = 0, flags = 0] = rest.subarray(3, 5);
      frames.push({ type, flags, stream: rest.readUInt32BE(5), payload: rest.subarray(9, 9 + length) });
      rest = rest.subarray(9 + length);
    }
    wake();
  });
  const closed = new Promise<void>((resolve) => {
    for (const event of ['end', 'close']) {
      socket.once(event, () => {
        over = true;
        wake();
        resolve();
      });
    }
  });
  const client = {
    socket,
    frames,
    closed,
    get over() {
      return over;
    },
    send(...parts: Buffer[]) {
      if (!socket.destroyed && socket.writable) socket.write(Buffer.concat(parts));
    },
    /** Sends, and waits until it has left or the connection is over. */
    async sent(...parts: Buffer[]) {
      if (over || socket.destroyed || !socket.writable) return;
      await new Promise<void>((resolve) => {
        void closed.then(resolve);
        socket.write(Buffer.concat(parts), () => resolve());
      });
    },
    head(stream: number, fields: readonly FieldLine[], flags = END_STREAM) {
      client.send(frame(TYPES.HEADERS, END_HEADERS | flags, stream, fieldBlock(fields)));
    },
    data(stream: number, text: string, flags = 0) {
      client.send(frame(TYPES.DATA, flags, stream, Buffer.from(text, 'latin1')));
    },
    reset(stream: number, code: number) {
      const payload = Buffer.alloc(4);
      payload.writeUInt32BE(code);
      client.send(frame(TYPES.RST_STREAM, 0, stream, payload));
    },
    /** Waits for a frame; undefined when the connection ended before. */
    async until(wanted: (frame: Frame) => boolean): Promise<Frame | undefined> {
      for (;;) {
        const found = frames.find(wanted);
        if (found !== undefined || over) return found;
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
    /** How one stream ended: `RST n`, or `answered`; or how the connection did. */
    async outcome(stream: number): Promise<string> {
      const rst = (f: Frame) => f.stream === stream && f.type === TYPES.RST_STREAM && f.payload.readUInt32BE() !== 0;
      const end = (f: Frame) => f.stream === stream && f.type <= 1 && (f.flags & END_STREAM) !== 0;
      const found = await client.until((f) => rst(f) || end(f) || f.type === TYPES.GOAWAY);
      if (found === undefined) return 'closed';
      if (found.type === TYPES.GOAWAY) return `GOAWAY ${found.payload.readUInt32BE(4)}`;
      return rst(found) ? `RST ${found.payload.readUInt32BE()}` : 'answered';
    },
    /** The code of the GOAWAY that came before the end of the connection. */
    async goaway(): Promise<number | undefined> {
      await closed;
      return frames.findLast(({ type }) => type === TYPES.GOAWAY)?.payload.readUInt32BE(4);
    },
  };
  if (preface) client.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(TYPES.SETTINGS, 0, 0, settings));
  return client;
}

export type RawHttp2 = Awaited<ReturnType<typeof rawHttp2>>;
