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
import {
  type CrlAnswer,
  enrollRequest,
  type IdentityAnswer,
  PATHS,
  podEnrollRequest,
  renewRequest,
  type TrustAnswer,
} from './wire.ts';
import { type NewsAnswer, noticeRequest } from './wire-news.ts';

export interface PublicLimits {
  /** Requests of one address. */
  readonly perAddress: Rate;
  /** Renewals by one leaf. */
  readonly perLeaf: Rate;
  /** Refused tokens of one address. */
  readonly refusedTokens: Rate;
  /** Reports of refused certificates by one leaf. */
  readonly perReporter: Rate;
  /** Requests being signed at one time; the next gets 503. */
  readonly maxSigning: number;
  /** Callers that wait for news; the next gets what there is. */
  readonly maxWaiting: number;
}

/** Below what the server gives a silent connection. */
const HELD_MS = 25 * SECOND;

/** The calls of sidecars: trust, news, revocation list, notices, enroll, renew. Held calls end with the signal. */
export function publicRoutes(
  app: FastifyInstance,
  manager: Manager,
  limits: PublicLimits,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): void {
  const requests = createRateLimiter(limits.perAddress, clock);
  const renewals = createRateLimiter(limits.perLeaf, clock);
  const refusals = createRateLimiter(limits.refusedTokens, clock);
  const reports = createRateLimiter(limits.perReporter, clock);
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

  /** Waits for the first of `events`, unless too many wait already or the caller leaves. */
  const held = async ({ socket }: FastifyRequest, ...events: ReadonlyArray<(end: AbortSignal) => Promise<unknown>>) => {
    if (waiting >= limits.maxWaiting) return;
    const over = new AbortController();
    const end = () => over.abort();
    socket.once('close', end);
    waiting++;
    const patience = AbortSignal.any([signal, over.signal, AbortSignal.timeout(HELD_MS)]);
    await Promise.race(events.map((event) => event(patience)));
    end();
    waiting--;
    socket.off('close', end);
  };

  app.get<{ Querystring: { after?: string } }>(PATHS.crl, async (request): Promise<CrlAnswer> => {
    const { revocations } = manager;
    const { number } = revocations.crl();
    if (request.query.after === String(number)) await held(request, (end) => revocations.newerThan(number, end));
    const crl = revocations.crl();
    return { crl: crl.pem, number: crl.number, time: clock.now() };
  });

  app.get<{ Querystring: { crl?: string; notices?: string } }>(PATHS.news, async (request): Promise<NewsAnswer> => {
    const { revocations, notices } = manager;
    const seen = { crl: Number(request.query.crl ?? 0), notices: Number(request.query.notices ?? 0) };
    const box = notices.boxOf(chainOf(request));
    const unread = () => (box === undefined ? [] : notices.read(box, seen.notices));
    if (seen.crl === revocations.crl().number && unread().length === 0) {
      const notice = box === undefined ? [] : [(end: AbortSignal) => notices.next(box, end)];
      await held(request, (end) => revocations.newerThan(seen.crl, end), ...notice);
    }
    const { pem, number } = revocations.crl();
    return { ...(number === seen.crl ? {} : { crl: { pem, number } }), notices: unread(), time: clock.now() };
  });

  app.post(PATHS.notices, (request) => {
    const { refused } = readBody(noticeRequest, request.body);
    const chain = chainOf(request);
    const wait = reports.take(leafKey(chain));
    if (wait > 0) throw tooMany(wait, 'reports by this certificate');
    manager.notices.report(chain, refused);
    return { time: clock.now() };
  });

  /** Whoever guesses is held back. */
  const byToken = (remote: string, work: () => Promise<InventoryEntry>) => {
    const wait = refusals.wait(addressKey(remote));
    if (wait > 0) throw tooMany(wait, 'refused tokens from this address');
    return sign(async () => {
      try {
        return await work();
      } catch (error) {
        if (isSidelockError(error) && /^SL-(?:TOK|POD)-/.test(error.code)) refusals.take(addressKey(remote));
        throw error;
      }
    });
  };

  app.post(PATHS.enroll, (request) => {
    const body = readBody(enrollRequest, request.body);
    const remote = remoteOf(request);
    return byToken(remote, () => manager.enroll({ ...body, remote }));
  });

  app.post(PATHS.enrollPod, (request) => {
    const body = readBody(podEnrollRequest, request.body);
    const remote = remoteOf(request);
    return byToken(remote, () => manager.enrollPod({ ...body, remote }));
  });

  app.post(PATHS.renew, (request) => {
    const { csr } = readBody(renewRequest, request.body);
    const chain = chainOf(request);
    const wait = chain.length === 0 ? 0 : renewals.take(leafKey(chain));
    if (wait > 0) throw tooMany(wait, 'renewals by this certificate');
    return sign(() => manager.renew({ chain, csr, remote: remoteOf(request) }));
  });
}

/** The socket is the only witness of who asks: a header that names somebody is not even read. */
function chainOf({ socket }: FastifyRequest): readonly Buffer[] {
  return socket instanceof TLSSocket ? peerChain(socket) : [];
}

function leafKey([leaf = Buffer.alloc(0)]: readonly Buffer[]): string {
  return createHash('sha256').update(leaf).digest('hex');
}

function remoteOf(request: FastifyRequest): string {
  return request.socket.remoteAddress ?? 'unknown';
}
