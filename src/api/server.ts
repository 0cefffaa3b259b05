import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Clock, SECOND } from '../base/clock.ts';
import { Readiness } from '../base/lifecycle.ts';
import { formatAddress, listen } from '../base/listen.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Manager } from '../manager/manager.ts';
import type { Monitoring } from '../manager/monitor.ts';
import { adminRoutes } from './server-admin.ts';
import { createApp } from './server-app.ts';
import { healthRoutes } from './server-health.ts';
import { type PageFiles, pageRoutes } from './server-page.ts';
import { type PublicLimits, publicRoutes } from './server-public.ts';
import { listenOnSocket, removeSocket } from './server-socket.ts';
import { contextOptions, keepIdentity } from './server-tls.ts';
import { caRoutes, trustRoutes } from './server-trust.ts';
import { PATHS } from './wire.ts';

interface ListenAddress {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

interface ApiLimits extends PublicLimits {
  readonly bodyBytes: number;
  /** For a whole request to arrive. Milliseconds. */
  readonly requestTimeoutMs: number;
  /** Milliseconds. */
  readonly handshakeTimeoutMs: number;
  readonly maxConnections: number;
}

interface ApiOptions {
  readonly manager: Manager;
  /** Its data is served on the socket and beside the metrics; nothing of it unless given. */
  readonly monitoring?: Pick<Monitoring, 'getDashboardData' | 'inventory'>;
  /** The dashboard's page, beside its data on the health port. */
  readonly page?: PageFiles | undefined;
  /** https; 0.0.0.0:9443 unless given. */
  readonly listen?: ListenAddress;
  /** Plain http for /healthz, /readyz, /metrics and the dashboard; 127.0.0.1:9444 unless given. */
  readonly health?: ListenAddress;
  /** For admin calls; its directory must be private. */
  readonly socketPath: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly limits?: Partial<ApiLimits>;
  /** Devices enrol by EST (RFC 7030) too; not unless given. */
  readonly est?: boolean;
  /** Awaited before an answer leaves, other than on the health port: what it tells is kept by then, or it is refused. */
  readonly settled?: (() => Promise<void>) | undefined;
}

interface Api extends AsyncDisposable {
  readonly address: AddressInfo;
  readonly url: string;
  readonly health: AddressInfo;
}

const LIMITS: ApiLimits = {
  bodyBytes: 16 * 1024,
  requestTimeoutMs: 10 * SECOND,
  handshakeTimeoutMs: 5 * SECOND,
  maxConnections: 4096,
  perAddress: { burst: 200, perSecond: 50 },
  perLeaf: { burst: 10, perSecond: 1 },
  perReporter: { burst: 10, perSecond: 2 },
  refusedTokens: { burst: 10, perSecond: 10 / 60 },
  maxSigning: 64,
  maxWaiting: 3072,
};

const CLOSE_MS = 5 * SECOND;

/**
 * Serves the API: sidecars by https, the operator by the unix socket, probes on a local port. All three are
 * bound before it resolves, or none.
 * @throws SidelockError SL-NET-001, SL-NET-002
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { manager, monitoring, clock, log, metrics, socketPath } = options;
  const limits = { ...LIMITS, ...options.limits };
  const readiness = new Readiness();
  readiness.block('starting', 'the listeners are not bound yet');

  await using opened = new AsyncDisposableStack();
  const use = <S extends Server | HttpsServer>(server: S): S => {
    opened.defer(() => close(server));
    limit(server, limits);
    // accept(2) can fail while others are served; before that, listen() has its own answer.
    server.on('error', (err) => server.listening && log.error({ event: 'accept_failed', err }, 'accept failed'));
    return server;
  };
  const { bodyBytes } = limits;
  const stop = new AbortController();
  const { settled } = options;
  const publicApp = createApp({ log, bodyBytes, showAll: false, settled });
  publicRoutes(publicApp, manager, limits, { clock, log, signal: stop.signal, est: options.est });
  const adminApp = createApp({ log, bodyBytes, showAll: true, settled });
  let healthAddress: AddressInfo | undefined;
  const shown = ({ address: host, port }: AddressInfo) => formatAddress({ host, port });
  adminRoutes(adminApp, manager, { clock, health: () => (healthAddress === undefined ? '' : shown(healthAddress)) });
  healthRoutes(adminApp, manager, readiness, metrics);
  if (monitoring !== undefined) adminApp.get(PATHS.dashboard, () => monitoring.getDashboardData());
  trustRoutes(adminApp, manager);
  caRoutes(adminApp, manager);
  const healthApp = createApp({ log, bodyBytes, showAll: false });
  healthRoutes(healthApp, manager, readiness, metrics);
  const listenHealth = options.health ?? { host: '127.0.0.1', port: 9444 };
  if (monitoring !== undefined) {
    const { signal } = stop;
    pageRoutes(healthApp, { monitoring, files: options.page, host: listenHealth.host, clock, log, signal });
  }
  await Promise.all([publicApp.ready(), adminApp.ready(), healthApp.ready()]);

  const checking = { connectionsCheckingInterval: Math.min(SECOND, limits.requestTimeoutMs) };
  const identity = await manager.managerIdentity();
  const https = use(
    createHttpsServer(
      {
        ...checking,
        ...contextOptions(identity),
        requestCert: true,
        rejectUnauthorized: false,
        ALPNProtocols: ['http/1.1'],
        handshakeTimeout: limits.handshakeTimeoutMs,
      },
      publicApp.routing,
    ),
  );
  const admin = use(createHttpServer(checking, adminApp.routing));
  const health = use(createHttpServer(checking, healthApp.routing));

  const address = await listen(https, options.listen ?? { host: '0.0.0.0', port: 9443 }, 'the API');
  healthAddress = await listen(health, listenHealth, 'health and metrics');
  await listenOnSocket(admin, socketPath);
  opened.defer(() => removeSocket(socketPath));
  opened.defer(() => stop.abort());
  void keepIdentity(https, identity, { manager, clock, log, signal: stop.signal });
  readiness.unblock('starting');
  const url = `https://${shown(address)}`;
  log.info({ event: 'api_listening', url, socketPath, health: shown(healthAddress) }, `API on ${url}`);

  const running = opened.move();
  return { address, url, health: healthAddress, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Fastify's own defaults wait for ever (threats P20). */
function limit(server: Server | HttpsServer, { requestTimeoutMs, maxConnections }: ApiLimits): void {
  server.requestTimeout = requestTimeoutMs;
  server.headersTimeout = requestTimeoutMs;
  server.keepAliveTimeout = 5 * SECOND;
  server.timeout = 3 * requestTimeoutMs;
  server.maxConnections = maxConnections;
  server.maxRequestsPerSocket = 1000;
}

/** Answers under way get a moment to end, idle connections are not waited for. */
async function close(server: Server | HttpsServer): Promise<void> {
  if (!server.listening) return;
  // A closing server enforces no request timeout any more, so a client that trickles would hold it open.
  const deadline = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
  clearTimeout(deadline);
}
