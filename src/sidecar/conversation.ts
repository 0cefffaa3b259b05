import type { TrustAnswer } from '../api/wire.ts';
import type { EdgeReport } from '../api/wire-edges.ts';
import type { NewsAnswer, NewsMarks, NoticeReport } from '../api/wire-news.ts';
import { type Clock, SECOND } from '../base/clock.ts';
import { tokenCommand } from '../base/commands.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import { type Candidate, checkAnswer, createCandidate, type Obtained, pinnedRoot } from './enroll.ts';
import type { IdentityDirectory } from './identity-directory.ts';
import type { RenewalMetrics } from './metrics-identity.ts';
import type { KubernetesIdentityOptions, ManagerIdentityOptions } from './options.ts';

interface ConversationOptions
  extends Pick<ManagerIdentityOptions, 'service' | 'address' | 'keyType' | 'requestTimeoutMs'> {
  readonly token: ManagerIdentityOptions['token'] | undefined;
  readonly namespace: string;
  readonly trustDomain: string;
  readonly expectedId: string;
  readonly directory: IdentityDirectory;
  readonly metrics: RenewalMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

type PodProof = Pick<KubernetesIdentityOptions, 'address' | 'roots' | 'token'>;

/** What the manager gave, checked, and under which address. */
export interface Given {
  readonly obtained: Obtained;
  readonly address: string;
}

/** How a sidecar asks its manager for a certificate. One question at a time. */
export interface Conversation {
  /** With the join token. @throws SL-TOK-*, SL-MGR-*, SL-FS-003 before the token is used */
  enroll(): Promise<Given>;
  /** With the token of the pod, before the first certificate and each time after. @throws SL-POD-*, SL-MGR-*, SL-TOK-005 */
  enrollPod(pod: PodProof, shown: IdentityMaterial | undefined): Promise<Given>;
  /** By mTLS with the identity there is. @throws SL-MGR-*, or what the manager answered */
  renew(shown: IdentityMaterial): Promise<Given>;
  /** What the manager trusts now; costs it nothing. @throws SL-MGR-* */
  trust(shown: IdentityMaterial): Promise<TrustAnswer>;
  /** Its revocation list and who refused `shown`, as soon as either is new. @throws SL-MGR-* */
  news(shown: IdentityMaterial, seen: NewsMarks, signal: AbortSignal): Promise<NewsAnswer>;
  /** Tells it whom we refused. @throws SL-MGR-*, or what the manager answered */
  notify(shown: IdentityMaterial, refused: readonly NoticeReport[]): Promise<void>;
  /** Tells it whom we talk to. @throws SL-MGR-*, or what the manager answered */
  tellEdges(shown: IdentityMaterial, edges: readonly EdgeReport[]): Promise<void>;
}

/** More than this and dates start to disagree: the manager back-dates certificates by two minutes. */
const SKEW_WORTH_A_LINE_S = 60;

export function createConversation(options: ConversationOptions): Conversation {
  const { service, namespace, expectedId, directory, metrics, clock, log, signal } = options;
  let candidate: Candidate | undefined;
  let refusedToken: { readonly text: string; readonly error: SidelockError } | undefined;

  const client = async (address: string, shown?: IdentityMaterial, ended: AbortSignal = signal) => {
    const { createManagerClient } = await import('../api/client.ts');
    return createManagerClient({
      address,
      clock,
      signal: ended,
      ...(options.requestTimeoutMs === undefined ? {} : { timeoutMs: options.requestTimeoutMs }),
      ...(shown === undefined ? {} : { identity: () => shown }),
    });
  };

  /** A key is kept until there is an answer to it, over a crash too: asked again, the manager repeats what was lost. */
  const put = async <A extends { readonly time: number }>(question: () => Promise<A>): Promise<A> => {
    const began = clock.now();
    try {
      const answer = await question();
      metrics.managerUp.value = 1;
      noteSkew(answer.time, (began + clock.now()) / 2);
      return answer;
    } catch (error) {
      const unheard = !isSidelockError(error) || UNHEARD.has(error.code);
      metrics.managerUp.value = unheard ? 0 : 1;
      if (isSidelockError(error) && /^SL-(KEY|CSR)-/.test(error.code)) {
        candidate = undefined;
        await directory.dropKey();
      }
      throw error;
    }
  };

  const noteSkew = (theirs: number, ours: number) => {
    const seconds = (ours - theirs) / SECOND;
    metrics.clockSkew.value = seconds;
    if (Math.abs(seconds) < SKEW_WORTH_A_LINE_S) return;
    const side = seconds > 0 ? 'ahead of' : 'behind';
    log.warn(
      { event: 'clock_skew', code: 'SL-CLOCK-001', seconds: Math.round(seconds), fix: 'timedatectl set-ntp true' },
      `our clock is ${Math.abs(Math.round(seconds))} s ${side} that of the manager`,
    );
  };

  const knownAddress = async (): Promise<string> => {
    const address = options.address ?? (await directory.managerAddress());
    if (address === undefined) throw noAddress();
    return address;
  };

  const newToken = async (): Promise<string> => {
    const text = (await options.token?.())?.trim();
    if (text === undefined || text === '') throw noToken(service, namespace);
    if (refusedToken?.text === text) throw refusedToken.error;
    return text;
  };

  return {
    async enroll() {
      const token = await newToken();
      try {
        const { decodeToken } = await import('../api/token.ts');
        const { claims } = decodeToken(token);
        const address = options.address ?? claims.addr;
        candidate ??= await createCandidate(options.keyType ?? 'rsa-2048', service, await directory.savedKey());
        const { keyPem, csr } = candidate;
        // Before the token is used up: it also shows that the directory can be written.
        await directory.saveKey(keyPem);
        const manager = await client(address);
        const answer = await put(() => manager.enroll(token, csr, { service, namespace }));
        const now = clock.now();
        const known = pinnedRoot(answer, [claims.root], now);
        const obtained = checkAnswer(answer, { keyPem, expectedId, known, now });
        candidate = undefined;
        return { obtained, address };
      } catch (error) {
        if (isSidelockError(error) && FINAL_FOR_TOKEN.has(error.code)) refusedToken = { text: token, error };
        throw error;
      }
    },

    async enrollPod({ address, roots, token }, shown) {
      const keyType = options.keyType ?? 'ecdsa-p256';
      candidate ??= await createCandidate(keyType, service, await directory.savedKey());
      const { keyPem, csr } = candidate;
      await directory.saveKey(keyPem).catch(ignoreFullDisk);
      const manager = await client(address, shown);
      const { trustDomain } = options;
      const text = await token();
      const answer = await put(() => manager.enrollPod(text, csr, { service, namespace, trustDomain, roots }));
      const now = clock.now();
      const known = shown?.bundle ?? pinnedRoot(answer, roots, now);
      const obtained = checkAnswer(answer, { keyPem, expectedId, known, now });
      candidate = undefined;
      return { obtained, address };
    },

    async renew(shown) {
      const address = await knownAddress();
      const keyType = options.keyType ?? shown.leaf.keyType ?? 'rsa-2048';
      candidate ??= await createCandidate(keyType, service, await directory.savedKey());
      const { keyPem, csr } = candidate;
      await directory.saveKey(keyPem).catch(ignoreFullDisk);
      const manager = await client(address, shown);
      const answer = await put(() => manager.renew(csr));
      const now = clock.now();
      const obtained = checkAnswer(answer, { keyPem, expectedId, known: shown.bundle, now });
      candidate = undefined;
      return { obtained, address };
    },

    async news(shown, seen, ended) {
      return await (await client(await knownAddress(), shown, ended)).news(seen);
    },

    async notify(shown, refused) {
      await (await client(await knownAddress(), shown)).notify(refused);
    },

    async tellEdges(shown, edges) {
      await (await client(await knownAddress(), shown)).tellEdges(edges);
    },

    async trust(shown) {
      const manager = await client(await knownAddress(), shown);
      return put(() => manager.trust());
    },
  };
}

/** The manager did not answer, or not as a manager. */
const UNHEARD: ReadonlySet<string> = new Set(['SL-MGR-001', 'SL-MGR-002', 'SL-TOK-005']);

/** Asking again with the same token cannot end otherwise; the manager counts such tries as attacks. */
const FINAL_FOR_TOKEN: ReadonlySet<string> = new Set(['SL-TOK-001', 'SL-TOK-002', 'SL-TOK-003', 'SL-TOK-004']);

/** A renewal is worth having even when it cannot be kept: near the end it is served from memory. */
function ignoreFullDisk(error: unknown): void {
  if (!isSidelockError(error, 'SL-FS-003')) throw error;
}

function noToken(service: string, namespace: string): SidelockError {
  return new SidelockError(
    'SL-TOK-001',
    `there is neither a usable certificate on disk nor a join token for ${service}`,
    {
      why: 'the first certificate needs a join token',
      fix: `${tokenCommand({ service, namespace })}   on the machine of the manager, then give it by identity.tokenFile`,
      data: { missing: true },
    },
  );
}

function noAddress(): SidelockError {
  return new SidelockError('SL-MGR-001', 'the address of the manager is not known', {
    why: 'the config has none, and the identity on disk does not say which manager gave it',
    fix: 'set identity.address to https://HOST:PORT of the manager',
  });
}
