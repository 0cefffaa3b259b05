import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import type { Test } from 'tap';
import type { HttpLimits, InboundOptions, OutboundOptions } from '../../src/sidecar/options.ts';
import { startPair } from './mesh.ts';

/** What an app behind the sidecar got on one connection, as latin1. */
export interface AppConnection {
  readonly socket: Socket;
  received: string;
}

/** What a raw app answers to one whole request; undefined: it answers by itself. */
export type Answer = (request: { head: string; body: string }, connection: AppConnection) => string | undefined;

/** A response whose body says which request it is for. */
export function echoTarget({ head }: { head: string }): string {
  const body = head.split(' ')[1] ?? '';
  return `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${head.startsWith('HEAD ') ? '' : body}`;
}

/** `web`'s and `orders`' sidecars with `protocol: http` in front of a raw app that records all it gets. */
export async function startHttp(
  t: Test,
  options: {
    readonly answer?: Answer;
    readonly app?: (connection: AppConnection) => void;
    readonly limits?: Partial<HttpLimits>;
    readonly idleMs?: number;
    readonly userBuffers?: boolean;
    readonly accessLog?: number;
    readonly tracing?: boolean;
    readonly allow?: InboundOptions['allow'];
    readonly policy?: 'enforce' | 'audit';
    readonly admin?: boolean;
    readonly mode?: 'strict' | 'permissive';
    readonly outbound?: Pick<OutboundOptions, 'limits'>;
  } = {},
) {
  const { answer = echoTarget, limits, idleMs, app, ...more } = options;
  const all = {
    ...(limits === undefined ? {} : { http: limits }),
    ...(idleMs === undefined ? {} : { idleTimeoutMs: idleMs }),
  };
  const connections: AppConnection[] = [];
  const pair = await startPair(
    t,
    (socket) => {
      const connection = { socket, received: '' };
      connections.push(connection);
      let seen = 0;
      socket.on('data', (chunk: Buffer) => {
        connection.received += chunk.toString('latin1');
        for (
          let request = wholeRequest(connection.received, seen);
          request;
          request = wholeRequest(connection.received, seen)
        ) {
          seen = request.end;
          if (app !== undefined) continue;
          const text = answer(request, connection);
          if (text !== undefined) socket.write(text, 'latin1');
        }
      });
      socket.once('end', () => socket.end());
      app?.(connection);
    },
    { protocol: 'http', limits: all, ...more },
  );
  const { authority, orders, web } = pair;
  const identity = authority.issue('web');
  return {
    ...pair,
    connections,
    /** Everything the app got, on all connections. */
    received: () => connections.map(({ received }) => received).join(''),
    /** A plaintext connection to web's sidecar, which leads through both. */
    async outbound(): Promise<RawClient> {
      const socket = connect({ port: web.local.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      await once(socket, 'connect');
      return rawClient(t, socket, socket);
    },
    /** An mTLS connection to orders' sidecar alone, as web. */
    async inbound(): Promise<RawClient> {
      const raw = connect({ port: orders.mtls.port, host: '127.0.0.1', noDelay: true });
      const socket = tlsConnect({
        socket: raw,
        cert: identity.cert,
        key: identity.key,
        ca: identity.ca,
        checkServerIdentity: () => undefined,
      });
      await once(socket, 'secureConnect');
      return rawClient(t, socket, raw);
    },
  };
}

export type HttpRig = Awaited<ReturnType<typeof startHttp>>;

/** A client that sends exactly the bytes it is told to. */
export interface RawClient {
  readonly socket: Socket;
  send(text: string): void;
  /** One byte a write, and one write every so many ms; until all is sent or the connection has ended. */
  drip(text: string, everyMs?: number): Promise<void>;
  /** Waits for the next whole response; undefined when the connection ended before. */
  response(method?: string): Promise<RawResponse | undefined>;
  /** Resolves when the other side has ended or broken the connection. */
  readonly closed: Promise<void>;
  /** Leaves with a RST. */
  reset(): void;
  received(): string;
}

export interface RawResponse {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

function rawClient(t: Test, socket: Socket, raw: Socket): RawClient {
  let received = '';
  let used = 0;
  let over = false;
  let wake = () => {};
  for (const one of [socket, raw]) one.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
    wake();
  });
  const closed = new Promise<void>((resolve) => {
    const end = () => {
      over = true;
      wake();
      resolve();
    };
    socket.once('end', end);
    socket.once('close', end);
  });
  t.teardown(() => socket.destroy());
  return {
    socket,
    closed,
    reset: () => void raw.resetAndDestroy(),
    received: () => received,
    send: (text) => void socket.write(text, 'latin1'),
    async drip(text, everyMs = 0) {
      for (const char of text) {
        if (over) return;
        if (socket.writable) await new Promise<void>((resolve) => socket.write(char, 'latin1', () => resolve()));
        await (everyMs === 0 ? turn() : delay(everyMs));
      }
    },
    async response(method = 'GET') {
      for (;;) {
        const found = wholeResponse(received, used, method, over);
        if (found !== undefined) {
          used = found.end;
          return found;
        }
        if (over) return undefined;
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}

interface Whole {
  readonly head: string;
  readonly body: string;
  readonly end: number;
}

/** The request that begins at `from`, if all of it is there; lenient, and no code of the sidecar. */
export function wholeRequest(text: string, from: number): Whole | undefined {
  const headEnd = text.indexOf('\r\n\r\n', from);
  if (headEnd < 0) return undefined;
  return whole(text, from, headEnd + 4, false, false);
}

function wholeResponse(text: string, from: number, method: string, over: boolean) {
  const headEnd = text.indexOf('\r\n\r\n', from);
  if (headEnd < 0) return undefined;
  const status = Number(text.slice(from + 9, from + 12));
  const bodyless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
  const found = whole(text, from, headEnd + 4, bodyless, true, over);
  return found === undefined ? undefined : { ...found, status };
}

function whole(
  text: string,
  from: number,
  bodyAt: number,
  bodyless: boolean,
  response: boolean,
  over = false,
): Whole | undefined {
  const head = text.slice(from, bodyAt);
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (bodyless) return { head, body: '', end: bodyAt };
  if (/^transfer-encoding: *chunked/im.test(head)) {
    const end = endOfChunks(text, bodyAt);
    return end === undefined ? undefined : { head, body: text.slice(bodyAt, end), end };
  }
  if (length === undefined && response) return over ? { head, body: text.slice(bodyAt), end: text.length } : undefined;
  const end = bodyAt + Number(length ?? 0);
  return end > text.length ? undefined : { head, body: text.slice(bodyAt, end), end };
}

function endOfChunks(text: string, from: number): number | undefined {
  let at = from;
  for (;;) {
    const line = text.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const size = Number.parseInt(text.slice(at, line), 16);
    at = line + 2 + size + 2;
    if (at > text.length) return undefined;
    if (size === 0) return at;
  }
}

/** The content of a chunked body. */
export function unchunk(body: string): string {
  let content = '';
  for (let at = 0; ; ) {
    const line = body.indexOf('\r\n', at);
    const size = Number.parseInt(body.slice(at, line), 16);
    if (!(size > 0)) return content;
    content += body.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
  }
}
