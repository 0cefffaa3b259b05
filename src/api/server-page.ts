import { isIP } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { SidelockError } from '../base/errors.ts';
import type { Monitoring } from '../manager/monitor.ts';
import { createEvents, type EventsOptions } from './server-events.ts';
import { PATHS } from './wire.ts';

/** The page as it was built: each file with its content. */
export type PageFiles = ReadonlyMap<string, Buffer>;

interface PageOptions extends EventsOptions {
  readonly monitoring: Pick<Monitoring, 'getDashboardData' | 'inventory'>;
  /** None: the data alone is served. */
  readonly files: PageFiles | undefined;
  /** A name besides localhost under which it may be asked. */
  readonly host: string;
}

/** Nothing but our own files runs, nobody frames us, and no other page learns where its visitor came from (threats P24). */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache',
};

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
};

/** The dashboard: the page at `/`, its data, and events when that changes. Read-only. */
export function pageRoutes(app: FastifyInstance, options: PageOptions): void {
  const { monitoring, files, host } = options;
  const events = createEvents(options);
  app.register((page, _options, done) => {
    page.addHook('onRequest', async (request, reply) => {
      reply.headers(HEADERS);
      checkHost(request.host, host);
    });
    page.get(PATHS.dashboard, () => monitoring.getDashboardData());
    page.get(PATHS.inventory, () => monitoring.inventory());
    page.get(PATHS.events, (request, reply) => events.serve(request, reply));
    for (const [name, content] of files ?? []) {
      const type = TYPES[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream';
      page.get(name === 'index.html' ? '/' : `/${name}`, async (_request, reply) => reply.type(type).send(content));
    }
    done();
  });
}

/**
 * A page elsewhere can point a name of its own at this machine and so read what we answer (DNS rebinding); it cannot
 * have an address or `localhost` as its name.
 */
function checkHost(asked: string, own: string): void {
  const name = asked.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1');
  if (name === 'localhost' || name === own || isIP(name) !== 0) return;
  throw new SidelockError(
    'SL-API-002',
    `the dashboard is not served under the name ${JSON.stringify(name.slice(0, 64))}`,
    {
      why: 'a page of somebody else could be asking, under a name that it points here',
      fix: 'ask by address or as localhost',
    },
  );
}
