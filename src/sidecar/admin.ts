import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { PlaintextAnswer, PolicyAnswer } from '../api/wire-sidecar.ts';
import { SECOND } from '../base/clock.ts';
import type { Readiness } from '../base/lifecycle.ts';
import { formatAddress, listen } from '../base/listen.ts';
import type { Metrics } from '../base/metrics.ts';
import { askApp } from './app-probes.ts';
import type { IdentityReader } from './identity.ts';
import { loopback } from './loopback.ts';
import type { AppProbeOptions, HostPort } from './options.ts';

interface AdminOptions {
  /** Loopback only; port 0 lets the system choose. */
  readonly listen: HostPort;
  readonly readiness: Readiness;
  readonly metrics: Metrics;
  readonly identity: IdentityReader;
  /** What `/connections` answers: any JSON value without secrets. */
  readonly connections?: () => Promise<unknown>;
  /** What `/endpoints` answers: any JSON value without secrets. */
  readonly endpoints?: () => Promise<unknown>;
  /** What `/policy` answers. */
  readonly policy?: () => Promise<PolicyAnswer>;
  /** What `/plaintext` answers. */
  readonly plaintext?: () => Promise<PlaintextAnswer>;
  /** Begins a graceful stop; called after the answer is on its way. */
  readonly shutdown?: () => void;
  /** Asks callers to go elsewhere, and serves them as long as they do not. */
  readonly leave?: () => void;
  /** See IdentitySource.renewNow. */
  readonly renew?: () => Promise<void>;
}

/** What kubelet and Prometheus ask from outside. */
type HealthOptions = Pick<AdminOptions, 'readiness' | 'metrics'> & {
  /** Any address: there is nothing here but health and numbers. */
  readonly listen: HostPort;
  readonly probes?: readonly AppProbeOptions[] | undefined;
};

export interface AdminServer extends AsyncDisposable {
  readonly address: HostPort;
  /** `http://127.0.0.1:9901` */
  readonly url: string;
}

/**
 * Local endpoints: GET /healthz /readyz /metrics /identity /connections /endpoints /policy /plaintext, POST /shutdown /leave /renew.
 *
 * Without a password, because only processes of this machine reach it; so a browser must not be made to: the Host has
 * to be a loopback name (a rebound DNS name is not), and POST needs `x-sidelock: 1`, which no foreign page can send.
 * @throws SL-CFG-003 for a host that is not loopback, SL-NET-001, SL-NET-002
 */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const address = { host: loopback(options.listen.host, 'admin.host', WHY_LOOPBACK), port: options.listen.port };
  return await serve(address, 'the admin endpoints', (request) => answer(options, request));
}

/** GET /healthz /readyz /metrics and the probes of the app for other machines, and nothing else. @throws SL-NET-001, SL-NET-002 */
export async function startHealth(options: HealthOptions): Promise<AdminServer> {
  return await serve(options.listen, 'the health endpoints', async ({ method = '', url = '' }) => {
    const path = url.split('?', 1)[0] ?? '';
    const probe = options.probes?.find((one) => one.path === path);
    if (probe !== undefined) return method === 'GET' ? probed(await askApp(probe)) : notAllowed('GET');
    const read = HEALTH[path];
    if (read === undefined) return failure(404, `here are ${Object.keys(HEALTH).join(' ')}`);
    return method === 'GET' || method === 'HEAD' ? await read(options) : notAllowed('GET, HEAD');
  });
}

async function serve(
  wanted: HostPort,
  what: string,
  reply: (request: IncomingMessage) => Promise<Reply>,
): Promise<AdminServer> {
  const server = createServer(LIMITS, (request, response) => {
    request.on('error', () => {});
    response.on('error', () => {});
    reply(request).then(
      (answer) => send(request, response, answer),
      () => send(request, response, failure(500, 'internal error')),
    );
  });
  server.maxConnections = 64;
  server.maxRequestsPerSocket = 1_000;
  server.on('clientError', (_error, socket) => socket.destroy());

  const { port } = await listen(server, wanted, what);
  const address = { host: wanted.host, port };
  return {
    address,
    url: `http://${formatAddress(address)}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A server that never ends a request would be held by clients that never finish one. */
const LIMITS = {
  headersTimeout: 5 * SECOND,
  requestTimeout: 10 * SECOND,
  keepAliveTimeout: 30 * SECOND,
  connectionsCheckingInterval: SECOND,
  maxHeaderSize: 8 * 1024,
};

interface Reply {
  readonly status: number;
  readonly body: string;
  readonly type: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Runs when the answer has been handed to the socket. */
  readonly after?: () => void;
}

type Handler<Options = AdminOptions> = (options: Options) => Reply | Promise<Reply>;

const HEALTH: Readonly<Record<string, Handler<HealthOptions>>> = {
  '/healthz': () => json(200, { status: 'ok' }),
  '/readyz': ({ readiness }) =>
    json(readiness.ready ? 200 : 503, { ready: readiness.ready, blockers: readiness.blockers() }),
  '/metrics': async ({ metrics }) => ({ status: 200, body: await metrics.render(), type: metrics.contentType }),
};

const READS: Readonly<Record<string, Handler>> = {
  ...HEALTH,
  '/identity': ({ identity }) => identityReply(identity),
  '/connections': async ({ connections }) => json(200, (await connections?.()) ?? []),
  '/endpoints': async ({ endpoints }) => json(200, (await endpoints?.()) ?? []),
  '/plaintext': async ({ plaintext }) =>
    plaintext === undefined ? failure(404, 'there are no listeners here') : json(200, await plaintext()),
  '/policy': async ({ policy }) =>
    policy === undefined ? failure(404, 'there are no listeners here') : json(200, await policy()),
};

const ACTIONS: Readonly<Record<string, Handler>> = {
  '/shutdown': ({ shutdown }) => {
    if (shutdown === undefined) return failure(404, 'this process does not stop by request');
    return { ...json(202, { status: 'stopping' }), after: shutdown };
  },
  '/leave': ({ leave }) => {
    if (leave === undefined) return failure(404, 'there are no listeners here');
    leave();
    return json(202, { status: 'leaving' });
  },
  '/renew': async ({ renew, identity }) => {
    if (renew === undefined) return failure(404, 'this identity is not renewed from here');
    const before = identity.current()?.generation;
    await renew();
    return json(200, { renewed: identity.current()?.generation !== before });
  },
};

async function answer(options: AdminOptions, request: IncomingMessage): Promise<Reply> {
  if (!LOOPBACK_HOST.test(request.headers.host ?? '')) return failure(403, 'the Host header must be a loopback name');
  const { method = '' } = request;
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const [read, act] = [READS[path], ACTIONS[path]];
  if (read !== undefined) {
    return method === 'GET' || method === 'HEAD' ? read(options) : notAllowed('GET, HEAD');
  }
  if (act === undefined) return failure(404, `here are ${[...Object.keys(READS), ...Object.keys(ACTIONS)].join(' ')}`);
  if (method !== 'POST') return notAllowed('POST');
  if (request.headers['x-sidelock'] !== '1') return failure(403, 'the header x-sidelock: 1 is needed');
  return act(options);
}

/** Public parts only: what every peer sees in a handshake. */
function identityReply(reader: IdentityReader): Reply {
  const identity = reader.current();
  if (identity === undefined) return failure(503, 'no identity yet; /readyz says why');
  const { leaf, bundle } = identity.material;
  return json(200, {
    spiffeId: identity.spiffeId,
    serial: identity.serial,
    notBefore: new Date(identity.notBefore).toISOString(),
    notAfter: new Date(identity.notAfter).toISOString(),
    generation: identity.generation,
    fingerprint256: leaf.fingerprint256,
    issuer: leaf.issuer,
    bundleKeyIds: bundle.keyIds,
    trustGeneration: identity.trustGeneration,
  });
}

function send(request: IncomingMessage, response: ServerResponse, { status, body, type, headers, after }: Reply): void {
  // A body is never asked for, so none is read: the connection ends with the answer instead.
  const hasBody = request.headers['content-length'] !== undefined && request.headers['content-length'] !== '0';
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(hasBody || request.headers['transfer-encoding'] !== undefined ? { connection: 'close' } : {}),
    ...headers,
  });
  if (after !== undefined) response.once('close', after);
  response.end(request.method === 'HEAD' ? undefined : body);
}

function probed(status: number): Reply {
  return json(status, { app: status });
}

function json(status: number, value: unknown): Reply {
  return { status, body: `${JSON.stringify(value)}\n`, type: 'application/json' };
}

function failure(status: number, message: string): Reply {
  return json(status, { error: message });
}

function notAllowed(allow: string): Reply {
  return { ...failure(405, `allowed: ${allow}`), headers: { allow } };
}

const WHY_LOOPBACK = 'the admin endpoints have no password, so only this machine may reach them';
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;
