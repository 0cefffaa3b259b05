import { type ClientHttp2Session, connect, createServer, type ServerHttp2Stream, type ServerOptions } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import type { Test } from 'tap';
import { listen } from '../../src/base/listen.ts';
import type { Http2Limits, HttpLimits, InboundOptions, OutboundOptions } from '../../src/sidecar/options.ts';
import { type Trio, testAuthority } from './identity-files.ts';
import { startNode } from './mesh.ts';

/** `web`'s and `orders`' sidecars with `protocol: http2` in front of an app of node:http2. */
export async function startHttp2(
  t: Test,
  app: (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void,
  options: {
    readonly limits?: Partial<HttpLimits>;
    readonly http2?: Partial<Http2Limits>;
    readonly drainMs?: number;
    readonly maxLifetimeMs?: number;
    readonly maxMemory?: number;
    readonly mode?: InboundOptions['mode'];
    /** How many sidecars of `orders` `web` can reach. */
    readonly endpoints?: number;
    readonly allow?: InboundOptions['allow'];
    readonly app?: ServerOptions;
    readonly outbound?: Pick<OutboundOptions, 'limits'>;
  } = {},
) {
  const authority = testAuthority();
  const streams = { now: 0, most: 0, all: 0 };
  const server = createServer({ ...OURS, ...options.app });
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.on('error', () => {});
  });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    streams.all++;
    streams.most = Math.max(streams.most, ++streams.now);
    stream.once('close', () => streams.now--);
    app(stream, headers);
  });
  const { port } = await listen(server, { host: '127.0.0.1', port: 0 }, 'the app');
  t.teardown(() => {
    server.close();
    for (const session of sessions) session.destroy();
  });
  const { maxLifetimeMs, maxMemory } = options;
  const limits = {
    http: options.limits ?? {},
    http2: options.http2 ?? {},
    drainMs: options.drainMs ?? 200,
    ...(maxLifetimeMs === undefined ? {} : { maxLifetimeMs }),
    ...(maxMemory === undefined ? {} : { maxMemory }),
  };
  const target = { host: '127.0.0.1', port };
  const inbound = { target, allow: options.allow ?? ['web'], mode: options.mode ?? 'strict' };
  const start = () => startNode(t, { service: 'orders', authority, protocol: 'http2', inbound, limits, accessLog: 1 });
  const orders = await start();
  const others = await Promise.all(Array.from({ length: (options.endpoints ?? 1) - 1 }, start));
  const outbound = { service: 'orders', address: [orders, ...others].map(({ mtls }) => mtls), ...options.outbound };
  const web = await startNode(t, { service: 'web', authority, protocol: 'http2', outbound, limits, accessLog: 1 });
  return {
    authority,
    orders,
    others,
    web,
    streams,
    sessions,
    /** A client of `web`'s app, through both sidecars. */
    local: () => client(t, web.local.port, undefined),
    /** A client with mTLS of its own, of `orders`' sidecar alone. */
    peer: (identity = authority.issue('web')) => client(t, orders.mtls.port, identity),
  };
}

/** What a client of Node may hold before it refuses itself, in MB: the limits looked for are those of the sidecars. */
const OURS = { maxSessionMemory: 100 };

function client(t: Test, port: number, identity: Trio | undefined): ClientHttp2Session {
  const session =
    identity === undefined
      ? connect(`http://127.0.0.1:${port}`, OURS)
      : connect('https://orders', {
          ...OURS,
          createConnection: () =>
            connectTls({
              port,
              host: '127.0.0.1',
              ...identity,
              ALPNProtocols: ['h2'],
              checkServerIdentity: () => undefined,
            }),
        });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  return session;
}

export interface Answer {
  readonly status: number | undefined;
  readonly headers: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
  readonly body: string;
  /** Of the stream's end: 0 when it ended in order. */
  readonly code: number;
  /** END_STREAM came. */
  readonly ended: boolean;
}

/** Sends one request, whose body ends unless it is left open. */
export function ask(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  { body, open = false }: { body?: string | Buffer; open?: boolean } = {},
): Promise<Answer> {
  const stream = session.request({ ':path': '/', ...headers }, { endStream: body === undefined && !open });
  stream.on('error', () => {});
  if (body !== undefined) {
    if (open) stream.write(body);
    else stream.end(body);
  }
  return answerOf(stream);
}

export function answerOf(stream: ReturnType<ClientHttp2Session['request']>): Promise<Answer> {
  const chunks: Buffer[] = [];
  let head: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  let ended = false;
  stream.on('response', (found) => {
    head = found;
  });
  stream.on('trailers', (found) => {
    trailers = found;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.once('end', () => {
    ended = true;
  });
  return new Promise((resolve) => {
    stream.once('close', () => {
      const status = head[':status'];
      resolve({
        status: typeof status === 'number' ? status : undefined,
        headers: head,
        trailers,
        body: Buffer.concat(chunks).toString('latin1'),
        code: stream.rstCode ?? 0,
        ended: ended && (stream.rstCode ?? 0) === 0,
      });
    });
  });
}
