import type { NoticeReport } from '../../api/wire-news.ts';
import { DAY, SECOND } from '../../base/clock.ts';
import { isAbort, isSidelockError, SidelockError } from '../../base/errors.ts';
import { createTurns } from '../../base/in-turn.ts';
import type { Metrics } from '../../base/metrics.ts';
import { askedToWait } from '../../base/retry.ts';
import { type IdentityMaterial, readIdentity } from '../../pki/material.ts';
import { serviceSpiffeId } from '../../pki/names.ts';
import { nextRenewal } from '../../pki/renewal.ts';
import { type Conversation, createConversation, type Given } from '../conversation.ts';
import { reportEdges } from '../edges-out.ts';
import type { Identity } from '../identity.ts';
import { identityDirectory } from '../identity-directory.ts';
import { type KeptLists, openKeptLists } from '../kept-lists.ts';
import { followNews } from '../manager-news.ts';
import { probeManager } from '../manager-probe.ts';
import { renewalMetrics } from '../metrics-identity.ts';
import type { NoticesIn } from '../notices-in.ts';
import type { NoticesOut } from '../notices-out.ts';
import type { KubernetesIdentityOptions, ManagerIdentityOptions } from '../options.ts';
import { startRenewLoop } from '../renew-loop.ts';
import { createRenewalReport } from '../renewal-report.ts';
import type { RevocationHolder } from '../revocation.ts';
import { createReloader, type ReloadContext } from './reload.ts';
import type { IdentitySource } from './source.ts';
import { keepLooking } from './watch.ts';

type ManagerSourceOptions = (ManagerIdentityOptions | KubernetesIdentityOptions) & {
  readonly namespace: string;
  readonly trustDomain: string;
};

/** What is done with the manager besides getting certificates: roots and revocations are followed. */
export interface ManagerTalk {
  readonly revocation: RevocationHolder;
  /** Directory for revocation lists; that of the identity unless given. */
  readonly keep?: string | undefined;
  /** What a sidecar that serves tells of besides; a program that does TLS itself has none of it. */
  readonly serving?: ServingTalk;
}

interface ServingTalk {
  readonly notices: { readonly in: NoticesIn; readonly out: NoticesOut };
  /** Open connections by the root that vouches for the peer (SHA-256). */
  readonly peers: () => ReadonlyMap<string, number> | Promise<ReadonlyMap<string, number>>;
  /** Whom it talks to. */
  readonly edges: Pick<Parameters<typeof reportEdges>[0], 'peers' | 'plaintext'>;
}

interface Plan {
  readonly serial: string;
  readonly at: number;
}

type Pending = Given & { readonly how: 'enrolled' | 'renewed' };

const RENEW_BEFORE_MS = 30 * DAY;
const EXPIRED_GRACE_MS = DAY;
/** Renewals that are overdue at the first look are spread over this: many sidecars may start at once. */
const OVERDUE_SPREAD_MS = 30 * SECOND;

/**
 * Identity from the manager: starts from disk, enrols with a join token only when nothing usable is there, renews in
 * time with a fresh key, and serves on with what it has for as long as the manager is away.
 */
export async function startManagerSource(
  options: ManagerSourceOptions,
  context: ReloadContext & { readonly registry: Metrics; readonly talk: ManagerTalk | undefined },
): Promise<IdentitySource> {
  const { service, namespace, trustDomain } = options;
  const { holder, clock, random, signal } = context;
  const expectedId = serviceSpiffeId({ trustDomain, namespace, service });
  const directory = identityDirectory(options.directory, expectedId);
  const metrics = renewalMetrics(context.registry);
  const reloader = createReloader({ ...context, read: () => directory.read(), where: options.directory });
  const token = options.source === 'manager' ? options.token : undefined;
  const conversation = createConversation({ ...options, token, ...context, expectedId, directory, metrics });
  const report = createRenewalReport({ ...context, reader: holder, metrics });
  const inTurn = createTurns();
  /** Given, but not yet on disk: what was asked for is not asked for again because a disk is full. */
  let pending: Pending | undefined;
  let planned: Plan | undefined;
  let advised: Plan | undefined;

  const due = () => {
    const identity = holder.current();
    if (identity === undefined) return 0;
    if (planned?.serial !== identity.serial) planned = { serial: identity.serial, at: plan(identity) };
    metrics.renewalDue.value = Math.floor(planned.at / SECOND);
    return planned.at;
  };

  const plan = (identity: Identity) => {
    const now = clock.now();
    const at =
      options.renewBeforeMs === undefined && advised?.serial === identity.serial
        ? advised.at
        : nextRenewal(identity, options.renewBeforeMs ?? RENEW_BEFORE_MS, random);
    if (at > now) return at;
    return now + random() * Math.max(0, Math.min(OVERDUE_SPREAD_MS, (identity.notAfter - now) / 2));
  };

  const ask = async (): Promise<Pending> => {
    const shown = holder.current()?.material ?? (await directory.readExpired(clock.now()));
    if (options.source === 'kubernetes') {
      return { ...(await conversation.enrollPod(options, shown)), how: shown === undefined ? 'enrolled' : 'renewed' };
    }
    if (shown === undefined || clock.now() > shown.leaf.notAfter + (options.expiredGraceMs ?? EXPIRED_GRACE_MS)) {
      return { ...(await conversation.enroll()), how: 'enrolled' };
    }
    try {
      return { ...(await conversation.renew(shown)), how: 'renewed' };
    } catch (error) {
      if (!(await mayEnrolInstead(error, shown))) throw error;
      return { ...(await conversation.enroll()), how: 'enrolled' };
    }
  };

  /** Only an identity that is past its end and was refused for it: a good one is never enrolled anew. */
  const mayEnrolInstead = async (error: unknown, shown: IdentityMaterial) =>
    options.source === 'manager' &&
    isSidelockError(error) &&
    !['SL-MGR-001', 'SL-MGR-002'].includes(error.code) &&
    clock.now() >= shown.leaf.notAfter &&
    (await options.token?.()) !== undefined;

  const keep = async ({ obtained, address, how }: Pending) => {
    const { renewAt } = obtained;
    advised = renewAt === undefined ? undefined : { serial: obtained.material.leaf.serial, at: renewAt };
    try {
      await inTurn('directory', () => directory.write(obtained, address));
    } catch (error) {
      const current = holder.current();
      // Nothing to lose: without this the service would stand still although there is a certificate for it.
      if (current === undefined || current.notAfter <= clock.now()) holder.offer(obtained.material);
      throw error;
    }
    await reloader.reload();
    if (holder.current()?.serial !== obtained.material.leaf.serial) throw notTakenUp(options.directory);
    report.ok(obtained, how);
  };

  /** Our certificate with other roots: refused, before anything is written, when none of them vouches for it. */
  const takeBundle = async (caPem: string) => {
    await inTurn('directory', async () => {
      const current = holder.current();
      if (current === undefined) return;
      const { certPem, keyPem } = current.material;
      const files = { cert: 'our certificate', key: 'our key', ca: 'the bundle of the manager' };
      const now = clock.now();
      readIdentity({ cert: certPem, key: keyPem, ca: caPem }, { now, expectedId, files, allowExpired: true });
      await directory.writeBundle({ certPem, keyPem, caPem });
    });
    await reloader.reload();
  };

  const attempt = async (): Promise<true | number> => {
    try {
      if (pending !== undefined && pending.obtained.material.leaf.notAfter <= clock.now()) pending = undefined;
      pending ??= await ask();
      await keep(pending);
      pending = undefined;
      return true;
    } catch (error) {
      if (isAbort(error) && signal.aborted) throw error;
      report.failed(error);
      return askedToWait(error, random);
    }
  };

  await directory.make();
  const looking = await keepLooking(reloader, [options.directory], options, context);
  const loop = startRenewLoop({ ...context, due, attempt, end: () => holder.current()?.notAfter });
  const bundleChanged = () => void loop.now().catch(() => {});
  const probing = probeManager({ ...context, conversation, reader: holder, bundleChanged });
  const trust = { takeBundle, renew: () => loop.now() };
  const talking =
    context.talk === undefined
      ? []
      : talk(context.talk, conversation, {
          ...context,
          ...trust,
          kept: await keptLists(context.talk, options, context),
        });
  const unsubscribe = holder.subscribe(() => loop.changed());
  return {
    renewNow: () => loop.now(),
    async [Symbol.asyncDispose]() {
      unsubscribe();
      await Promise.all([loop.ended, probing, ...talking]);
      await looking[Symbol.asyncDispose]();
    },
  };
}

async function keptLists(
  { revocation, keep }: ManagerTalk,
  { directory }: ManagerSourceOptions,
  { holder, clock, log }: ReloadContext,
): Promise<KeptLists> {
  return await openKeptLists({ home: keep ?? directory, reader: holder, revocation, clock, log });
}

function talk(
  { revocation, serving }: ManagerTalk,
  conversation: Conversation,
  { holder, ...context }: ReloadContext & Pick<Parameters<typeof followNews>[0], 'takeBundle' | 'renew' | 'kept'>,
): Array<Promise<void>> {
  const follow = { ...context, revocation, conversation, reader: holder };
  if (serving === undefined) return [followNews({ ...follow, noticed: () => {}, peers: () => new Map() })];
  const { notices, peers, edges } = serving;
  const notify = async (refused: readonly NoticeReport[]) => {
    const identity = holder.current();
    if (identity !== undefined) await conversation.notify(identity.material, refused);
  };
  return [
    followNews({ ...follow, noticed: notices.in.received, peers }),
    notices.out.deliver(notify, context.signal),
    reportEdges({ ...context, ...edges, reader: holder, tell: conversation.tellEdges }),
  ];
}

function notTakenUp(directory: string): SidelockError {
  return new SidelockError('SL-FS-003', `the new identity in ${directory} is not accepted from there`, {
    why: 'what is read back is not what was written; the line before this one says what is wrong with it',
    fix: 'use a directory of this process alone, on a file system that keeps modes',
  });
}
