import { createHash } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Clock, SECOND } from '../base/clock.ts';
import { isSidelockError } from '../base/errors.ts';
import type { InventoryEntry } from '../manager/inventory.ts';
import type { Manager } from '../manager/manager.ts';
import { peerChain } from '../pki/peer-chain.ts';
import { addressKey, createRateLimiter, type Rate } from './rate-limit.ts';
import { readBody } from './server-body.ts';
import { busy, tooMany } from './server-errors.ts';
import { type CrlAnswer, enrollRequest, type IdentityAnswer, PATHS, renewRequest, type TrustAnswer } from './wire.ts';

export interface PublicLimits {
  /** Requests of one address. */
  readonly perAddress: Rate;
  /** Renewals by one leaf. */
  readonly perLeaf: Rate;
  /** Refused tokens of one address. */
  readonly refusedTokens: Rate;
  /** Requests being signed at one time; the next gets 503. */
  readonly maxSigning: number;
  /** Callers that wait for the next revocation list; the next gets the one there is. */
  readonly maxWaiting: number;
}

/** Below what the server gives a silent connection. */
const CRL_HELD_MS = 25 * SECOND;

/** The calls of sidecars: trust, revocation list, enroll, renew. Held calls end with the signal. */
export function publicRoutes(
  app: FastifyInstance,
  manager: Manager,
  limits: PublicLimits,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): void {
  const requests = createRateLimiter(limits.perAddress, clock);
  const renewals = createRateLimiter(limits.perLeaf, clock);
  const refusals = createRateLimiter(limits.refusedTokens, clock);
  let signing = 0;
  let waiting = 0;

  app.addHook('onRequest', async (request) => {
    const wait = requests.take(addressKey(request.socket.remoteAddress));
    if (wait > 0) throw tooMany(wait, 'requests from this address');
  });

  const answer = (entry: InventoryEntry): IdentityAnswer => ({
    certificate: entry.pem,
    bundle: manager.trustBundle().pem,
    spiffeId: entry.spiffeId,
    notBefore: entry.notBefore,
    notAfter: entry.notAfter,
    renewAt: manager.renewAt(entry),
    trustDomain: manager.trustDomain,
    time: clock.now(),
  });
  const sign = async (work: () => Promise<InventoryEntry>): Promise<IdentityAnswer> => {
    if (signing >= limits.maxSigning) throw busy();
    signing++;
    try {
      return answer(await work());
    } finally {
      signing--;
    }
  };

  app.get(PATHS.trust, async (): Promise<TrustAnswer> => {
    const { pem, sha256, roots } = manager.trustBundle();
    const rootSha256 = roots.map(({ fingerprint256 }) => fingerprint256);
    return { bundle: pem, sha256, rootSha256, trustDomain: manager.trustDomain, time: clock.now() };
  });

  app.get<{ Querystring: { after?: string } }>(PATHS.crl, async (request): Promise<CrlAnswer> => {
    const { after } = request.query;
    let crl = manager.revocations.crl();
    if (after === String(crl.number) && waiting < limits.maxWaiting) {
      const gone = new AbortController();
      const left = () => gone.abort();
      request.socket.once('close', left);
      waiting++;
      const patience = AbortSignal.any([signal, gone.signal, AbortSignal.timeout(CRL_HELD_MS)]);
      crl = await manager.revocations.newerThan(crl.number, patience);
      waiting--;
      request.socket.off('close', left);
    }
    return { crl: crl.pem, number: crl.number, time: clock.now() };
  });

  app.post(PATHS.enroll, (request) => {
    const body = readBody(enrollRequest, request.body);
    const remote = remoteOf(request);
    const wait = refusals.wait(addressKey(remote));
    if (wait > 0) throw tooMany(wait, 'refused tokens from this address');
    return sign(async () => {
      try {
        return await manager.enroll({ ...body, remote });
      } catch (error) {
        if (isSidelockError(error) && error.code.startsWith('SL-TOK-')) refusals.take(addressKey(remote));
        throw error;
      }
    });
  });

  app.post(PATHS.renew, (request) => {
    const { csr } = readBody(renewRequest, request.body);
    // The socket is the only witness of who asks: a header that names somebody is not even read.
    const chain = request.socket instanceof TLSSocket ? peerChain(request.socket) : [];
    const leaf = chain[0];
    const wait = leaf === undefined ? 0 : renewals.take(createHash('sha256').update(leaf).digest('hex'));
    if (wait > 0) throw tooMany(wait, 'renewals by this certificate');
    return sign(() => manager.renew({ chain, csr, remote: remoteOf(request) }));
  });
}

function remoteOf(request: FastifyRequest): string {
  return request.socket.remoteAddress ?? 'unknown';
}
