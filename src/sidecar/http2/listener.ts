import type { NewConnection } from '../connections.ts';
import type { DataPlane } from '../data-plane.ts';
import { createHexSource } from '../http1/ids.ts';
import { rejectionReport, requestReport } from '../http1/listener.ts';
import { pooled } from '../http1/pooled.ts';
import type { RequestRecord } from '../http1/relay-context.ts';
import type { OpenLink } from '../http1/upstream.ts';
import type { Link } from '../link.ts';
import type { Direction } from '../metrics.ts';
import { DEFAULT_HTTP_LIMITS, DEFAULT_HTTP2_LIMITS, DEFAULT_LINK_GRACE } from '../options.ts';
import { Http2Client, type NewStream } from './client.ts';
import type { Caller, Http2Context } from './context.ts';
import { Exchange, type Served } from './exchange.ts';
import { type PoolOptions, SessionPool } from './pool.ts';

/** A client connection that was admitted and judged. */
export interface Http2Connection
  extends Pick<NewConnection, 'kind' | 'peer' | 'self' | 'local' | 'tls' | 'plaintext' | 'notAfter'>,
    Pick<Caller, 'callerFields' | 'denies'> {
  readonly link: Link;
  /** True from when the connection should be used no more, as after a new identity. */
  readonly outdated: () => boolean;
}

interface ListenerName {
  readonly direction: Direction;
  readonly listener: string;
}

/** Serves HTTP/2 connections of one listener: `serve` gets each request that keeps the rules. */
export function createHttp2Server(
  { direction, listener }: ListenerName,
  serve: (request: NewStream, context: Http2Context) => Served,
  plane: DataPlane,
) {
  const context = http2Context({ direction, listener }, plane);
  return {
    context,
    serve({ link, callerFields, denies, outdated, ...info }: Http2Connection): void {
      const caller = info.peer?.id || undefined;
      let client: Http2Client | undefined;
      plane.connections.add({
        ...info,
        direction,
        listener,
        finish: () => client?.end(),
        start: (received, sent, closed) => {
          client = new Http2Client(context, {
            link,
            callerFields,
            caller,
            denies,
            outdated,
            received,
            sent,
            closed,
            serve: (request) => serve(request, context),
          });
          return client;
        },
      });
    },
  };
}

interface RelayOptions extends ListenerName, Pick<PoolOptions, 'pick' | 'maxConnections' | 'maxWaiting' | 'refused'> {
  readonly open: OpenLink;
  /** How long a connection without requests is kept, ms. */
  readonly idleMs: number;
  /** A request begins; false when it is one too many. Every one that begins is told to `left`. */
  readonly entered?: () => boolean;
  readonly left?: () => void;
}

/** HTTP/2 on both sides: the requests of all clients of a listener share a few connections. */
export function createHttp2Relay(options: RelayOptions, plane: DataPlane) {
  const { direction, listener, entered, left } = options;
  const server = createHttp2Server(
    { direction, listener },
    (request, context) => {
      const done = (record: RequestRecord) => {
        left?.();
        context.done(record);
      };
      const exchange = new Exchange({ ...request, context: left === undefined ? context : { ...context, done }, pool });
      exchange.start(entered?.() === false);
      return exchange;
    },
    plane,
  );
  const openNow = plane.metrics.httpUpstreams.with({ direction, listener });
  const pool = new SessionPool({ ...options, context: server.context, openNow });
  return {
    serve: (connection: Http2Connection) => server.serve(connection),
    /** The same port, which on close gives up its connections too. */
    closeWith: pooled(pool),
  };
}

function http2Context({ direction, listener }: ListenerName, plane: DataPlane): Http2Context {
  const hex = createHexSource();
  const labels = { direction, listener };
  return {
    direction,
    limits: { ...DEFAULT_HTTP_LIMITS, ...plane.limits.http },
    http2: { ...DEFAULT_HTTP2_LIMITS, ...plane.limits.http2 },
    streamIdleMs: plane.limits.idleTimeoutMs,
    graceMs: plane.limits.linkGraceMs ?? DEFAULT_LINK_GRACE,
    now: () => plane.clock.now(),
    newRequestId: () => hex(32),
    newTraceparent: plane.tracing ? () => `00-${hex(32)}-${hex(16)}-00` : undefined,
    rejected: rejectionReport({ ...labels, protocol: 'HTTP/2' }, plane),
    done: requestReport(direction, listener, plane),
    flooded: (reason, caller) => {
      plane.metrics.http2Closed.with({ ...labels, reason }).value++;
      plane.refusals.warn(
        `${listener} ${reason} ${caller}`,
        { event: 'http2_closed', code: 'SL-HTTP-004', reason, ...labels, src_id: caller },
        `${direction} "${listener}": an HTTP/2 connection of ${caller ?? 'the other side'} was closed: ${reason}`,
      );
    },
  };
}
