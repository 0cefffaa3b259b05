import { createHash } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Clock, SECOND } from '../base/clock.ts';
import { isSidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { InventoryEntry } from '../manager/inventory.ts';
import type { Manager } from '../manager/manager.ts';
import { peerChain } from '../pki/peer-chain.ts';
import { certificatesToPem } from '../pki/pem.ts';
import { createBacklog } from './backlog.ts';
import { addressKey, createRateLimiter, type Rate } from './rate-limit.ts';
import { readBody } from './server-body.ts';
import { busy, tooMany } from './server-errors.ts';
import { estRoutes } from './server-est.ts';
import {
  type CrlAnswer,
  enrollRequest,
  type IdentityAnswer,
  PATHS,
  podEnrollRequest,
  renewRequest,
  type TrustAnswer,
} from './wire.ts';
import { edgesRequest } from './wire-edges.ts';
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

interface PublicContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Whether devices enrol by RFC 7030. */
  readonly est?: boolean | undefined;
}

/** Below what the server gives a silent connection. */
const HELD_MS = 25 * SECOND;

/** The calls of sidecars: trust, news, revocation list, notices, enroll, renew. Held calls end with the signal. */
export function publicRoutes(
  app: FastifyInstance,
  manager: Manager,
  limits: PublicLimits,
  { clock, log, signal, est = false }: PublicContext,
): void {
  const requests = createRateLimiter(limits.perAddress, clock);
  const renewals = createRateLimiter(limits.perLeaf, clock);
  const refusals = createRateLimiter(limits.refusedTokens, clock);
  const reports = createRateLimiter(limits.perReporter, clock);
  const backlog = createBacklog(clock, log);
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
  const sign = async (work: () => Promise<InventoryEntry>): Promise<InventoryEntry> => {
    if (signing >= limits.maxSigning) throw busy(backlog.refused());
    signing++;
    try {
      return await work();
    } finally {
      signing--;
      backlog.served();
    }
  };

  app.get(PATHS.trust, async (): Promise<TrustAnswer> => {
    const { pem, sha256, roots } = manager.trustBundle();
    const rootSha256 = roots.map(({ fingerprint256 }) => fingerprint256);
    return { bundle: pem, sha256, rootSha256, trustDomain: manager.trustDomain, time: clock.now() };
  });

  /** Waits for the first of `events`, for `ms` at most, unless too many wait already or the caller leaves. */
  const held = async (
    { socket }: FastifyRequest,
    ms: number,
    ...events: ReadonlyArray<(end: AbortSignal) => Promise<unknown>>
  ) => {
    if (waiting >= limits.maxWaiting) return;
    const over = new AbortController();
    const end = () => over.abort();
    socket.once('close', end);
    waiting++;
    const patience = AbortSignal.any([signal, over.signal, AbortSignal.timeout(ms)]);
    await Promise.race(events.map((event) => event(patience)));
    end();
    waiting--;
    socket.off('close', end);
  };

  app.get<{ Querystring: { after?: string } }>(PATHS.crl, async (request): Promise<CrlAnswer> => {
    const { revocations } = manager;
    const { number } = revocations.crl();
    if (request.query.after === String(number))
      await held(request, HELD_MS, (end) => revocations.newerThan(number, end));
    const crl = revocations.crl();
    return { crl: crl.pem, number: crl.number, time: clock.now() };
  });

  app.get<{ Querystring: NewsQuery }>(PATHS.news, async (request): Promise<NewsAnswer> => {
    const { revocations, notices, trust } = manager;
    const { bundle, peers = '' } = request.query;
    const chain = chainOf(request);
    const seen = { crl: Number(request.query.crl ?? 0), notices: Number(request.query.notices ?? 0) };
    const box = notices.boxOf(chain);
    const follower = bundle === undefined ? undefined : await manager.follow({ chain, bundle, peers: countsOf(peers) });
    const unread = () => (box === undefined ? [] : notices.read(box, seen.notices));
    if (seen.crl === revocations.crl().number && unread().length === 0 && follower?.news() === undefined) {
      const notice = box === undefined ? [] : [(end: AbortSignal) => notices.next(box, end)];
      const step = follower === undefined ? [] : [follower.next];
      const ms = newsHeldMs(trust);
      await held(request, ms, (end) => revocations.newerThan(seen.crl, end), ...notice, ...step);
    }
    const { pem, number } = revocations.crl();
    const news = follower?.news();
    return {
      ...(number === seen.crl ? {} : { crl: { pem, number, issuers: tiersOf(trust) } }),
      ...(news && { trust: { ...news, bundle: news.bundle.pem, sha256: news.bundle.sha256 } }),
      notices: unread(),
      time: clock.now(),
    };
  });

  app.post(PATHS.notices, (request) => {
    const { refused } = readBody(noticeRequest, request.body);
    const chain = chainOf(request);
    const wait = reports.take(leafKey(chain));
    if (wait > 0) throw tooMany(wait, 'reports by this certificate');
    manager.notices.report(chain, refused);
    return { time: clock.now() };
  });

  app.post(PATHS.edges, (request) => {
    const { edges } = readBody(edgesRequest, request.body);
    const chain = chainOf(request);
    const wait = reports.take(leafKey(chain));
    if (wait > 0) throw tooMany(wait, 'reports by this certificate');
    manager.edges.report(chain, edges);
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
    return byToken(remote, () => manager.enroll({ ...body, remote })).then(answer);
  });

  app.post(PATHS.enrollPod, (request) => {
    const body = readBody(podEnrollRequest, request.body);
    const remote = remoteOf(request);
    return byToken(remote, () => manager.enrollPod({ ...body, remote })).then(answer);
  });

  const byLeaf = (chain: readonly Buffer[], work: () => Promise<InventoryEntry>) => {
    const wait = chain.length === 0 ? 0 : renewals.take(leafKey(chain));
    if (wait > 0) throw tooMany(wait, 'renewals by this certificate');
    return sign(work);
  };

  app.post(PATHS.renew, (request) => {
    const { csr } = readBody(renewRequest, request.body);
    const chain = chainOf(request);
    return byLeaf(chain, () => manager.renew({ chain, csr, remote: remoteOf(request) })).then(answer);
  });

  if (!est) return;
  estRoutes(app, {
    ...{ devices: manager.devices, chainOf },
    byToken: async (request, work) => byToken(remoteOf(request), work),
    byLeaf: async (request, work) => byLeaf(chainOf(request), work),
  });
}

/** The socket is the only witness of who asks: a header that names somebody is not even read. */
function chainOf({ socket }: FastifyRequest): readonly Buffer[] {
  return socket instanceof TLSSocket ? peerChain(socket) : [];
}

interface NewsQuery {
  readonly crl?: string;
  readonly notices?: string;
  readonly bundle?: string;
  readonly peers?: string;
}

/** Roots there are few of; what does not read as a count is none. */
const MAX_ROOTS = 16;

function countsOf(peers: string): Map<string, number> {
  const counts = peers.split(',', MAX_ROOTS).map((text) => /^([0-9a-f]{64}):(\d{1,6})$/.exec(text));
  return new Map(counts.flatMap((match) => (match?.[1] === undefined ? [] : [[match[1], Number(match[2])]])));
}

/** While a root follows another, what sidecars have matters, so they are asked more often: all together 40 a second. */
function newsHeldMs(trust: Manager['trust']): number {
  if (trust.phase() === 'steady') return HELD_MS;
  return Math.min(HELD_MS, Math.max(SECOND, trust.followers() * 25));
}

/** The issuing certificates, which sign revocation lists and are no roots. */
function tiersOf(trust: Manager['trust']): string {
  const tiers = trust.signers().filter(({ certificate }) => !certificate.subjectDer.equals(certificate.issuerDer));
  return certificatesToPem(tiers.map(({ certificate }) => certificate));
}

function leafKey([leaf = Buffer.alloc(0)]: readonly Buffer[]): string {
  return createHash('sha256').update(leaf).digest('hex');
}

function remoteOf(request: FastifyRequest): string {
  return request.socket.remoteAddress ?? 'unknown';
}
