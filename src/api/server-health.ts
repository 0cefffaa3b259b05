import type { FastifyInstance } from 'fastify';
import type { Readiness } from '../base/lifecycle.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Manager } from '../manager/manager.ts';

/** `/healthz` the process answers, `/readyz` it can issue (503 and the named blockers if not), `/metrics`. */
export function healthRoutes(app: FastifyInstance, manager: Manager, readiness: Readiness, metrics: Metrics): void {
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const blockers = [...readiness.blockers(), ...manager.blockers()];
    return reply.code(blockers.length === 0 ? 200 : 503).send({ ready: blockers.length === 0, blockers });
  });
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()));
}
