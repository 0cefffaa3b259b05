import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Clock, type Random, SECOND } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { Readiness } from '../base/lifecycle.ts';
import { listen } from '../base/listen.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { admit } from './admission.ts';
import type { KubeApi } from './client.ts';
import type { InjectSettings } from './container.ts';
import { createEvents } from './events.ts';
import { tellMissingRights, webhookRights } from './rights.ts';
import { createWatchMetrics } from './watch-metrics.ts';
import { followState } from './webhook-state.ts';

interface WebhookOptions {
  readonly api: KubeApi;
  readonly listen: { readonly host: string; readonly port: number };
  /** Its own namespace. */
  readonly namespace: string;
  /** The Service by which the API server calls it. */
  readonly service: string;
  readonly configuration: string;
  readonly settings: Omit<InjectSettings, 'manager'>;
  /** `https://host:port` that sidecars reach. */
  readonly manager: string;
  readonly readiness: Readiness;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

interface Webhook extends AsyncDisposable {
  readonly address: AddressInfo;
}

/** Above what the API server takes for an object, twice: the pod may be there as old and new. */
const MAX_BODY = 8 * 1024 * 1024;

/**
 * Serves POST /mutate to the API server. It is ready once the API server would trust it and the manager's roots are
 * known. @throws SL-NET-001, SL-NET-002
 */
export async function startWebhook(options: WebhookOptions): Promise<Webhook> {
  const { api, settings, manager, log, metrics, clock, random, namespace, configuration } = options;
  const injections = metrics.counter('sidelock_injections_total', 'Pods that were reviewed, by what became of them.', [
    'result',
    'reason',
  ]);
  const stop = new AbortController();
  const server = createServer({ minVersion: 'TLSv1.3', handshakeTimeout: 5 * SECOND, ...LIMITS });
  const state = followState({
    ...options,
    ...settings,
    watch: { random, metrics: createWatchMetrics(metrics) },
    signal: stop.signal,
    serve: (leaf) => server.setSecureContext(leaf),
  });
  const events = createEvents({ api, clock, log });
  // Any other failure of it says nothing of whether it can serve.
  tellMissingRights(api, webhookRights(namespace, configuration), {
    log,
    effect: 'pods may get no sidecars',
  }).catch((error: unknown) => log.warn({ event: 'rights_unknown', err: error }, 'its rights are not known'));

  const answer = (text: string): string => {
    const roots = state.roots();
    const known = roots.length === 0 ? undefined : { ...settings, manager: { address: manager, roots } };
    const { answer: reply, result, reason, of, event } = admit(text, known);
    injections.with({ result, reason }).value++;
    const level = result === 'refused' ? 'warn' : 'debug';
    log[level]({ event: 'pod_reviewed', pod: of, result, reason }, `pod ${of}: ${result}`);
    if (event !== undefined) events.tell(event);
    return JSON.stringify(reply);
  };

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {});
    handle(request, answer).then(
      (body) => send(response, 200, body),
      (error: unknown) => {
        const known = isSidelockError(error);
        const status = known && typeof error.data['status'] === 'number' ? error.data['status'] : 500;
        log.warn({ event: 'review_failed', status, err: error }, 'a review could not be answered');
        send(response, status, known ? `${error.message}: ${error.why ?? ''}` : 'internal error');
      },
    );
  });
  server.on('tlsClientError', (_, socket) => socket.destroy());
  server.maxConnections = 512;

  await using started = new AsyncDisposableStack();
  started.defer(async () => {
    stop.abort();
    await Promise.all([state.ended, events.ended()]);
  });
  const address = await listen(server, options.listen, 'the webhook');
  started.defer(() => close(server));
  log.info({ event: 'webhook_listening', port: address.port }, `webhook on port ${address.port}`);
  const running = started.move();
  return { address, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

const LIMITS = { headersTimeout: 5 * SECOND, requestTimeout: 10 * SECOND, connectionsCheckingInterval: SECOND };

async function handle(request: IncomingMessage, answer: (text: string) => string): Promise<string> {
  if (request.method !== 'POST' || request.url?.split('?', 1)[0] !== '/mutate') {
    throw new SidelockError('SL-HOOK-001', 'here is POST /mutate', { data: { status: 404 } });
  }
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_BODY) {
      const why = `it has more than ${MAX_BODY} bytes`;
      throw new SidelockError('SL-HOOK-001', 'the review is too large', { why, data: { status: 413 } });
    }
    parts.push(part);
  }
  return answer(Buffer.concat(parts).toString('utf8'));
}

function send(response: ServerResponse, status: number, body: string): void {
  if (response.headersSent) return;
  const type = status === 200 ? 'application/json' : 'text/plain';
  const end = status === 413 ? { connection: 'close' } : {};
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), ...end });
  response.end(body);
}

/** The API server may be in the middle of a review. */
async function close(server: Server): Promise<void> {
  const deadline = setTimeout(() => server.closeAllConnections(), 2 * SECOND);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
  clearTimeout(deadline);
}
