import type { Cell, HistogramCell } from '../../base/metrics.ts';
import type { NewConnection } from '../connections.ts';
import type { DataPlane } from '../data-plane.ts';
import type { Listener } from '../listener.ts';
import type { Direction } from '../metrics.ts';
import { DEFAULT_HTTP_LIMITS } from '../options.ts';
import { Client, type ClientOptions } from './client.ts';
import { createHexSource } from './ids.ts';
import { Pool, type PoolOptions } from './pool.ts';
import { pooled } from './pooled.ts';
import type { RelayContext, RequestRecord } from './relay-context.ts';
import type { OpenLink } from './upstream.ts';

interface HttpListenerOptions extends Pick<PoolOptions, 'pick' | 'maxConnections' | 'refused'> {
  readonly direction: Direction;
  readonly listener: string;
  readonly open: OpenLink;
  /** How long an idle connection to the upstream is kept, ms. */
  readonly idleMs: number;
  /** In place of that of `HttpLimits`. */
  readonly maxWaiting?: number;
  /** A request begins; false when it is one too many. Every one that begins is told to `left`. */
  readonly entered?: () => boolean;
  readonly left?: () => void;
}

interface HttpConnection
  extends Pick<NewConnection, 'kind' | 'peer' | 'self' | 'local' | 'tls' | 'plaintext' | 'notAfter'>,
    Pick<ClientOptions, 'link' | 'callerFields' | 'denies' | 'route'> {}

/** The HTTP side of one listener: serves links that were admitted and judged. */
export interface HttpListener {
  serve(connection: HttpConnection): void;
  /** A connection that is one request of another, which is registered and has its own limits. */
  open(options: Omit<ClientOptions, 'received' | 'sent'>): Client;
  /** For requests that come another way. */
  readonly context: RelayContext;
  /** The same port, which on close gives up its warm connections too. */
  closeWith(listener: Listener): Listener;
}

export function createHttpListener(options: HttpListenerOptions, plane: DataPlane): HttpListener {
  const { direction, listener, open, pick, idleMs, maxWaiting, maxConnections, refused } = options;
  const common = { ...DEFAULT_HTTP_LIMITS, ...plane.limits.http };
  const limits = maxWaiting === undefined ? common : { ...common, maxWaiting };
  const now = () => plane.clock.now();
  const pool = new Pool({
    open,
    pick,
    limits,
    idleMs,
    now,
    openNow: plane.metrics.httpUpstreams.with({ direction, listener }),
    ...(maxConnections === undefined ? {} : { maxConnections }),
    ...(refused === undefined ? {} : { refused }),
  });
  const hex = createHexSource();
  const report = requestReport(direction, listener, plane);
  const context: RelayContext = {
    direction,
    pool,
    limits,
    now,
    newRequestId: () => hex(32),
    newTraceparent: plane.tracing ? () => `00-${hex(32)}-${hex(16)}-00` : undefined,
    rejected: rejectionReport({ direction, listener, protocol: 'HTTP/1.1' }, plane),
    entered: options.entered,
    done(record) {
      options.left?.();
      report(record);
    },
  };
  return {
    context,
    serve({ link, callerFields, denies, route, ...info }) {
      let client: Client | undefined;
      plane.connections.add({
        ...info,
        direction,
        listener,
        finish: () => client?.end(),
        start: (received, sent, closed) => {
          client = new Client(context, {
            link,
            callerFields,
            denies,
            route,
            caller: info.peer?.id || undefined,
            received,
            sent,
            closed,
          });
          return client;
        },
      });
    },
    open: (one) => new Client(context, { ...one, received: { value: 0 }, sent: { value: 0 } }),
    closeWith: pooled(pool),
  };
}

/** Counts a message that broke a rule, and says so when the log has room for it. */
export function rejectionReport(
  { direction, listener, protocol }: { direction: Direction; listener: string; protocol: 'HTTP/1.1' | 'HTTP/2' },
  { metrics, refusals }: Pick<DataPlane, 'metrics' | 'refusals'>,
): RelayContext['rejected'] {
  return (reason, caller) => {
    metrics.httpRejected.with({ reason }).value++;
    const isResponse = reason.startsWith('response_');
    const code = isResponse ? 'SL-HTTP-002' : 'SL-HTTP-001';
    const what = isResponse ? 'a response' : `a request of ${caller ?? 'the app'}`;
    refusals.warn(
      `${listener} ${reason} ${caller}`,
      { event: 'http_rejected', code, reason, direction, listener, src_id: caller },
      `${direction} "${listener}": ${what} broke a rule of ${protocol}: ${reason}`,
    );
  };
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** Counts a request, and writes its line when its turn comes. */
export function requestReport(
  direction: Direction,
  listener: string,
  plane: DataPlane,
): (record: RequestRecord) => void {
  const cells = new Map<string, Cell[]>();
  const seconds: HistogramCell = plane.metrics.requestSeconds.with({ direction, listener });
  const cellOf = (method: string, codeClass: number): Cell => {
    let row = cells.get(method);
    if (row === undefined) {
      const label = METHODS.has(method) ? method : 'other';
      row = CODE_CLASSES.map((code_class) =>
        plane.metrics.requests.with({ direction, listener, method: label, code_class }),
      );
      // Anybody can make up methods; those of the list are asked for most.
      if (label !== 'other') cells.set(method, row);
    }
    return row[codeClass] ?? { value: 0 };
  };
  return (record) => {
    cellOf(record.method, Math.trunc(record.status / 100)).value++;
    seconds.observe(record.durationMs / 1_000);
    if (plane.accessLog === 0 || (plane.accessLog < 1 && plane.random() >= plane.accessLog)) return;
    plane.log.info(accessLine(direction, listener, record), 'request');
  };
}

/** By the first digit of the status; the first is of requests that broke off before. */
const CODE_CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'];

function accessLine(direction: Direction, listener: string, record: RequestRecord): Record<string, unknown> {
  return {
    event: 'request',
    direction,
    listener,
    src_id: record.caller,
    method: record.method.slice(0, 32),
    // A query carries secrets more often than not.
    path: record.target.split('?', 1)[0],
    status: record.status,
    duration_ms: Math.round(record.durationMs * 1_000) / 1_000,
    request_id: record.requestId,
    close_reason: record.reason,
  };
}
