import type { FastifyInstance } from 'fastify';
import type { Manager } from '../manager/manager.ts';
import type { TrustStatus } from '../manager/trust.ts';
import { readBody } from './server-body.ts';
import { PATHS } from './wire.ts';
import { type TrustStatusAnswer, trustStepRequest } from './wire-trust.ts';

/** One answer holds no more; what is beyond them is counted. */
const MAX_LACKING = 1000;

/** The steps of the succession of roots, for an operator. */
export function trustRoutes(app: FastifyInstance, { trust }: Pick<Manager, 'trust'>): void {
  app.get(PATHS.trustState, async () => shown(await trust.status()));
  app.post(PATHS.trustState, async (request) => {
    const { step, ...options } = readBody(trustStepRequest, request.body);
    return shown(await trust.take(step, options));
  });
}

function shown({ lacking, roots, ...status }: TrustStatus): TrustStatusAnswer {
  return {
    ...status,
    roots: [...roots],
    lacking: lacking.slice(0, MAX_LACKING),
    left: Math.max(0, lacking.length - MAX_LACKING),
  };
}
