import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from '../base/log.ts';
import { errorHandler, notFound } from './server-errors.ts';

interface AppOptions {
  readonly log: Logger;
  /** Largest request body. */
  readonly bodyBytes: number;
  /** Whether errors that are not meant for callers are shown all the same. */
  readonly showAll: boolean;
}

/** A set of routes; the server that carries them is the caller's. Nothing a proxy says about the caller is believed. */
export function createApp({ log, bodyBytes, showAll }: AppOptions): FastifyInstance {
  const app = fastify({
    bodyLimit: bodyBytes,
    trustProxy: false,
    exposeHeadRoutes: false,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
  });
  app.removeContentTypeParser('text/plain');
  app.setErrorHandler(errorHandler(log, { showAll }));
  app.setNotFoundHandler(notFound);
  return app;
}
