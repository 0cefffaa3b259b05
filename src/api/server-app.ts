import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from '../base/log.ts';
import { errorHandler, notFound } from './server-errors.ts';

interface AppOptions {
  readonly log: Logger;
  /** Largest request body. */
  readonly bodyBytes: number;
  /** Whether errors that are not meant for callers are shown all the same. */
  readonly showAll: boolean;
  /** Awaited before an answer leaves; its failure is the answer instead. */
  readonly settled?: (() => Promise<void>) | undefined;
}

/** A set of routes; the server that carries them is the caller's. Nothing a proxy says about the caller is believed. */
export function createApp({ log, bodyBytes, showAll, settled }: AppOptions): FastifyInstance {
  const app = fastify({
    bodyLimit: bodyBytes,
    trustProxy: false,
    exposeHeadRoutes: false,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
  });
  app.removeContentTypeParser('text/plain');
  if (settled !== undefined) {
    app.addHook('onSend', async (_request, reply) => {
      // The refusal itself passes here too.
      if (reply.statusCode !== 503) await settled();
    });
  }
  app.setErrorHandler(errorHandler(log, { showAll }));
  app.setNotFoundHandler(notFound);
  return app;
}
