import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import type { buildConnector } from 'undici';
import { type Clock, SECOND } from '../base/clock.ts';
import { tokenCommand } from '../base/commands.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import { parseBundle, type TrustBundle } from '../pki/bundle.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { MAX_CRL } from '../pki/crl.ts';
import { verifyCsr } from '../pki/csr.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import { serviceSpiffeId } from '../pki/names.ts';
import { verifyPeer } from '../pki/peer.ts';
import { peerChain } from '../pki/peer-chain.ts';
import { pemEncode } from '../pki/pem.ts';
import { exchange, MAX_ANSWER, openClient, type Transport, unusable } from './client-transport.ts';
import { decodeToken } from './token.ts';
import { type IdentityAnswer, identityAnswer, PATHS, type TrustAnswer, trustAnswer } from './wire.ts';
import { type EdgeReport, edgesAnswer } from './wire-edges.ts';
import { type NewsAnswer, type NewsMarks, type NoticeReport, newsAnswer, noticeAnswer } from './wire-news.ts';

interface ManagerClientOptions {
  /** https address of the manager. */
  readonly address: string;
  readonly clock: Clock;
  /** What this client is now. Needed by all but `enroll`; with it `trust` checks the manager too. */
  readonly identity?: () => IdentityMaterial;
  /** For each exchange as a whole; 10 s unless given. */
  readonly timeoutMs?: number;
  /** Ends calls under way with an AbortError. */
  readonly signal?: AbortSignal;
}

interface ManagerClient {
  /** The trust bundle. Without an identity the answer proves nothing: compare it with a pin. */
  trust(): Promise<TrustAnswer>;
  /**
   * Trades a join token and a request for a certificate. The manager must show the root that the token pins
   * before the token is sent (SL-TOK-005), and a token for another service stays here (SL-TOK-004).
   */
  enroll(token: string, csr: string, expected?: ExpectedService): Promise<IdentityAnswer>;
  /**
   * Trades the ServiceAccount token of a pod and a request for a certificate. The manager must chain to the bundle of
   * the identity this client has, or else show a root of `roots` (SHA-256, hex), before the token is sent.
   */
  enrollPod(token: string, csr: string, expected: ExpectedService & ExpectedRoots): Promise<IdentityAnswer>;
  /**
   * Revocation lists and roots that are not those of `seen`, and notices of refusals of our certificate, as soon as there
   * is any; nothing after half a minute. Whoever uses lists and roots verifies them.
   */
  news(seen: NewsMarks): Promise<NewsAnswer>;
  /** Tells the manager whose certificates we refused. */
  notify(refused: readonly NoticeReport[]): Promise<void>;
  /** Tells the manager whom we talk to, in place of what was told before. */
  tellEdges(edges: readonly EdgeReport[]): Promise<void>;
  /** A new certificate for the identity this client has. */
  renew(csr: string): Promise<IdentityAnswer>;
}

/** A manager that has nothing new says so after about this long. */
const NEWS_HELD_MS = 30 * SECOND;
/** Revocation lists, of which JSON escapes every line's end, and the rest. */
const MAX_NEWS = MAX_CRL + (1 << 20);

interface ExpectedRoots {
  readonly trustDomain: string;
  readonly roots: readonly string[];
}

interface ExpectedService {
  readonly service: string;
  readonly namespace: string;
}

/** What every manager is called in its own trust domain; nobody else may have a name in this namespace. */
const MANAGER = { namespace: 'sidelock-system', service: 'manager' };

/**
 * Speaks to the manager's API. Every answer is checked before it is returned: shape, size, that the certificate
 * holds the requested key and the expected identity, and that it chains to a root already trusted.
 * @throws SidelockError SL-MGR-001, SL-MGR-002, SL-TOK-*, or what the manager answered.
 */
export function createManagerClient(options: ManagerClientOptions): ManagerClient {
  const { address, clock, identity } = options;

  const transport = (trusted?: Trusted, shown?: IdentityMaterial, maxAnswer: number = MAX_ANSWER): Transport => ({
    where: address,
    timeoutMs: options.timeoutMs ?? 10 * SECOND,
    signal: options.signal,
    maxAnswer,
    connect: (signal) =>
      openClient(address, { connect: connector({ address, trusted, shown, clock, signal }) }, maxAnswer),
  });
  const own = (): IdentityMaterial => {
    const shown = identity?.();
    if (shown === undefined) throw new TypeError('this call needs the option identity');
    return shown;
  };
  const trust = (trusted: Trusted | undefined) =>
    exchange(transport(trusted), { method: 'GET', path: PATHS.trust }, trustAnswer);

  return {
    trust: () => trust(identity && trustedBy(identity())),

    async enroll(token, csr, expected) {
      const { claims } = decodeToken(token);
      if (expected !== undefined && (expected.service !== claims.sub || expected.namespace !== claims.ns)) {
        throw new SidelockError('SL-TOK-004', `the join token is not for ${expected.service}`, {
          why: `it was made for ${claims.sub} in namespace ${claims.ns}, this is ${expected.service} in ${expected.namespace}`,
          fix: tokenCommand(expected),
        });
      }
      const offer = await trust(undefined);
      const trusted = { bundle: pinnedBundle(offer, [claims.root], options), trustDomain: offer.trustDomain };
      const answer = await exchange(
        transport(trusted),
        {
          method: 'POST',
          path: PATHS.enroll,
          body: { token: token.trim(), csr, service: claims.sub, namespace: claims.ns },
        },
        identityAnswer,
      );
      const spiffeId = serviceSpiffeId({ ...trusted, namespace: claims.ns, service: claims.sub });
      return checked(answer, { address, csr, spiffeId, trusted, now: clock.now() });
    },

    async enrollPod(token, csr, { service, namespace, trustDomain, roots }) {
      const shown = identity?.();
      const bundle = shown?.bundle ?? pinnedBundle(await trust(undefined), roots, options);
      const trusted = { bundle, trustDomain };
      const body = { token, csr, service, namespace };
      const question = { method: 'POST', path: PATHS.enrollPod, body } as const;
      const answer = await exchange(transport(trusted), question, identityAnswer);
      const spiffeId = serviceSpiffeId({ trustDomain, namespace, service });
      return checked(answer, { address, csr, spiffeId, trusted, now: clock.now() });
    },

    async news(seen) {
      const shown = own();
      const timeoutMs = (options.timeoutMs ?? 10 * SECOND) + NEWS_HELD_MS;
      const held = { ...transport(trustedBy(shown), shown, MAX_NEWS), timeoutMs };
      return await exchange(held, { method: 'GET', path: `${PATHS.news}?${newsQuery(seen)}` }, newsAnswer);
    },

    async notify(refused) {
      const shown = own();
      const call = { method: 'POST', path: PATHS.notices, body: { refused } } as const;
      await exchange(transport(trustedBy(shown), shown), call, noticeAnswer);
    },

    async tellEdges(edges) {
      const shown = own();
      const call = { method: 'POST', path: PATHS.edges, body: { edges } } as const;
      await exchange(transport(trustedBy(shown), shown), call, edgesAnswer);
    },

    async renew(csr) {
      const shown = own();
      const trusted = trustedBy(shown);
      const answer = await exchange(
        transport(trusted, shown),
        { method: 'POST', path: PATHS.renew, body: { csr } },
        identityAnswer,
      );
      return checked(answer, { address, csr, spiffeId: shown.spiffeId.uri, trusted, now: clock.now() });
    },
  };
}

function newsQuery({ crl, notices, bundle, peers = new Map() }: NewsMarks): string {
  const counts = [...peers].map(([root, count]) => `${root}:${count}`);
  return `crl=${crl}&notices=${notices}${bundle === undefined ? '' : `&bundle=${bundle}&peers=${counts.join(',')}`}`;
}

/** What a manager must prove to be: a leaf of `trustDomain` under `bundle`. */
interface Trusted {
  readonly bundle: TrustBundle;
  readonly trustDomain: string;
}

function trustedBy({ bundle, spiffeId }: IdentityMaterial): Trusted {
  return { bundle, trustDomain: spiffeId.trustDomain };
}

/** The first root that is pinned, out of what the manager offered before it was known. */
function pinnedBundle(
  offer: TrustAnswer,
  pins: readonly string[],
  { address, clock }: Pick<ManagerClientOptions, 'address' | 'clock'>,
): TrustBundle {
  const offered = readable(address, () => certificatesFromPem(offer.bundle, `the bundle of ${address}`));
  const root = offered.find(({ fingerprint256 }) => pins.includes(fingerprint256));
  if (root === undefined) {
    const seen = offered.map(({ fingerprint256 }) => `sha256:${fingerprint256}`).join(', ');
    throw new SidelockError('SL-TOK-005', `the manager at ${address} is not the one that we were told to trust`, {
      why: `its root is ${seen}, pinned is ${pins.map((pin) => `sha256:${pin}`).join(' or ')}; the token was not sent`,
    });
  }
  return readable(address, () => parseBundle(pemEncode('CERTIFICATE', root.der), 'the pinned root', clock.now()));
}

interface Expectation {
  readonly address: string;
  readonly csr: string;
  readonly spiffeId: string;
  readonly trusted: Trusted;
  readonly now: number;
}

function checked(answer: IdentityAnswer, { address, csr, spiffeId, trusted, now }: Expectation): IdentityAnswer {
  const chain = readable(address, () => certificatesFromPem(answer.certificate, 'the certificate of the answer'));
  const bundle = readable(address, () => parseBundle(answer.bundle, 'the bundle of the answer', now));
  const fault = (why: string) => unusable({ where: address }, why);
  const leaf = chain[0];
  if (leaf === undefined) throw fault('it holds no certificate');
  const requested = verifyCsr(csr).spkiSha256;
  if (leaf.spkiSha256 !== requested) {
    throw fault(
      `its certificate holds another key (sha256:${leaf.spkiSha256}) than we asked for (sha256:${requested})`,
    );
  }
  if (
    !bundle.roots.some((root) =>
      trusted.bundle.roots.some(({ fingerprint256 }) => fingerprint256 === root.fingerprint256),
    )
  ) {
    throw fault('its bundle holds none of the roots we trust');
  }
  const verdict = verifyPeer({
    chain: chain.map(({ der }) => der),
    bundle,
    now,
    purpose: 'client',
    trustDomain: trusted.trustDomain,
  });
  if (!verdict.ok) throw fault(`its certificate is unfit: ${verdict.detail} (${verdict.reason})`);
  if (verdict.spiffeId.uri !== spiffeId || answer.spiffeId !== spiffeId) {
    throw fault(`its certificate is for ${verdict.spiffeId.uri}, we are ${spiffeId}`);
  }
  return answer;
}

function readable<T>(address: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!isSidelockError(error)) throw error;
    throw unusable({ where: address }, `${error.message}${error.why === undefined ? '' : `: ${error.why}`}`, error);
  }
}

interface Connection {
  readonly address: string;
  readonly trusted: Trusted | undefined;
  readonly shown: IdentityMaterial | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Hands a socket to the HTTP client only after the manager's own certificate has passed. */
function connector({ address, trusted, shown, clock, signal }: Connection): buildConnector.connector {
  return ({ hostname, port }, callback) => {
    const host = hostname.replace(/^\[|\]$/g, '');
    const socket = connect({
      host,
      port: port === '' ? 443 : Number(port),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(shown === undefined ? {} : { cert: shown.certPem, key: shown.keyPem }),
      // An empty list is an empty trust store. Our own pass decides: it knows SPIFFE ids, OpenSSL's does not.
      ca: trusted === undefined ? [] : trusted.bundle.pem,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['http/1.1'],
    });
    const aborted = () => socket.destroy(new DOMException('aborted', 'AbortError'));
    const done = (error: Error | undefined) => {
      signal.removeEventListener('abort', aborted);
      socket.off('error', failed);
      if (error === undefined) return callback(null, socket);
      socket.on('error', () => {});
      socket.destroy();
      callback(error, null);
    };
    const failed = (error: Error) => done(error);
    signal.addEventListener('abort', aborted, { once: true });
    socket.once('error', failed);
    socket.once('secureConnect', () => done(trusted && notTheManager(socket, address, trusted, clock.now())));
  };
}

function notTheManager(
  socket: TLSSocket,
  address: string,
  { bundle, trustDomain }: Trusted,
  now: number,
): SidelockError | undefined {
  const verdict = verifyPeer({ chain: peerChain(socket), bundle, now, purpose: 'server', trustDomain });
  if (!verdict.ok) {
    return unusable({ where: address }, `its certificate does not pass: ${verdict.detail} (${verdict.reason})`);
  }
  const wanted = serviceSpiffeId({ trustDomain, ...MANAGER });
  if (verdict.spiffeId.uri === wanted) return undefined;
  return unusable({ where: address }, `it is ${verdict.spiffeId.uri}, not ${wanted}`);
}
