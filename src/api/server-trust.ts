import type { FastifyInstance } from 'fastify';
import type { Manager } from '../manager/manager.ts';
import type { TrustStatus } from '../manager/trust.ts';
import { readBody } from './server-body.ts';
import { PATHS } from './wire.ts';
import { type CaImportAnswer, caImportRequest, caRootRequest } from './wire-ca.ts';
import { type TrustStatusAnswer, trustStepRequest } from './wire-trust.ts';

/** One answer holds no more; what is beyond them is counted. */
const MAX_LACKING = 1000;
/** A key, its certificate, and a file of issuers that holds more than it has to. */
const MAX_CA_BYTES = 256 * 1024;

/** The steps of the succession of roots, for an operator. */
export function trustRoutes(app: FastifyInstance, { trust }: Pick<Manager, 'trust'>): void {
  app.get(PATHS.trustState, async () => shown(await trust.status()));
  app.post(PATHS.trustState, async (request) => {
    const { step, ...options } = readBody(trustStepRequest, request.body);
    return shown(await trust.take(step, options));
  });
}

/** The CA as a whole: another one in its place, and the key of its root out of the storage and back. */
export function caRoutes(app: FastifyInstance, { caCare }: Pick<Manager, 'caCare'>): void {
  app.post(PATHS.caImport, { bodyLimit: MAX_CA_BYTES }, async (request): Promise<CaImportAnswer> => {
    const { dryRun = false, ...files } = readBody(caImportRequest, request.body);
    const { trust, findings, path, ...report } = await caCare.import(files, { dryRun });
    const leaf = report.leaf && { ...report.leaf, sans: [...report.leaf.sans] };
    return { ...report, leaf, findings: [...findings], path: [...path], trust: shown(trust) };
  });
  app.post(PATHS.caRoot, async (request) => {
    const { key, ...options } = readBody(caRootRequest, request.body);
    return shown(await (key === undefined ? caCare.takeOffline(options) : caCare.putOnline(key, options)));
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
