import { EventEmitter, once } from 'node:events';
import { HOUR, MINUTE, SECOND } from '../base/clock.ts';
import { isAbort, SidelockError } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import type { TrustBundle } from '../pki/bundle.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { Signer } from '../pki/issue.ts';
import type { AuditLog } from './audit.ts';
import { type Authority, type AuthorityOptions, type GivenCa, makeAuthority } from './ca.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';
import { rootSignerOf } from './root-offline.ts';
import type { TokenRecord } from './tokens.ts';
import { type Holding, isSilent, type Lacking, lackingBundle, lackingEnd, needsOld } from './trust-lacking.ts';
import { destroyRetired, openRoots, type Roots, rootOf } from './trust-roots.ts';
import { nextStep, phaseOf, STEPS, type TrustPhase, type TrustState, writeTrustState } from './trust-state.ts';

export interface RootRecord {
  readonly number: number;
  readonly subject: string;
  readonly sha256: string;
  /** ms since the epoch. */
  readonly notAfter: number;
  readonly state: 'signs' | 'next' | 'old' | 'gone';
  /** Where the key of the root itself is. */
  readonly key: 'here' | 'offline' | 'destroyed';
  /** Certificates in use that it vouches for. */
  readonly certificates: number;
}

export interface TrustStatus {
  readonly generation: number;
  readonly phase: TrustPhase;
  /** ms since the epoch. */
  readonly since: number;
  /** When the old roots go anyway, ms since the epoch. */
  readonly deadline?: number | undefined;
  readonly bundleSha256: string;
  readonly roots: readonly RootRecord[];
  /** Certificates of sidecars in use, and how many of those have confirmed the bundle. */
  readonly sidecars: { readonly total: number; readonly confirmed: number };
  /** Who stands against the next step. */
  readonly lacking: readonly Lacking[];
  /** The next step as a command. */
  readonly next: string;
}

export type TrustStep = 'stage' | 'unstage' | 'activate' | 'retire' | 'compromise';

/** What is not waited for. */
interface Patience {
  /** Of `activate` and `retire`: sidecars silent for this long are taken as gone, ms; none unless given. */
  readonly absentMs?: number | undefined;
  /** Of `retire`: connections that peers opened with certificates of the old root are closed. */
  readonly closeConnections?: boolean | undefined;
}

interface StepOptions extends Patience {
  /** Only says what stands against it. */
  readonly dryRun?: boolean | undefined;
  /** Of `compromise`: when the old roots go at the latest, ms from now; 5 minutes unless given. */
  readonly withinMs?: number | undefined;
  /** Of `stage`: a CA from elsewhere in place of a new one. */
  readonly given?: GivenCa | undefined;
}

/** The roots of this CA, and how one follows another without a moment in which two parties cannot talk. */
export interface Trust {
  /** What signs now. The same value until a step is taken. */
  authority(): Authority;
  bundle(): TrustBundle;
  /** By which a sidecar that missed steps can still prove who it is. */
  proving(): TrustBundle;
  signers(): readonly Signer[];
  /** Each root that is or was trusted, by number. */
  roots(): ReadonlyMap<number, Certificate>;
  /** Runs `work`, which changes what lies in the directories of the roots, between two steps, and opens them anew. */
  reopen(work: () => Promise<void>): Promise<void>;
  generation(): number;
  phase(): TrustPhase;
  /** When the last step was taken, ms since the epoch. */
  since(): number;
  /** True when a root before the one that signs vouches for this certificate: it should be renewed. */
  isOld(entry: InventoryEntry): boolean;
  /** What the sidecar with this certificate serves with, and how many peers under an old root it talks to. */
  heard(entry: InventoryEntry, bundle: string, oldPeers: number): Promise<void>;
  status(patience?: Patience): Promise<TrustStatus>;
  /**
   * Takes a step: when it resolves, it is on disk and in force. A crash leaves the state before or after it.
   * @throws SL-TRUST-001 naming who is behind, SL-TRUST-002 out of turn, SL-FS-003
   */
  take(step: TrustStep, options?: StepOptions): Promise<TrustStatus>;
  /** Resolves when the generation is not `known`, or the signal aborts. */
  whenNot(known: number, signal: AbortSignal): Promise<void>;
  /** Certificates of sidecars in use that are of an old root, or whose holder has not confirmed the bundle. */
  behind(): number;
  /** When the sidecar with this certificate was heard of last by this process, ms since the epoch. */
  heardAt(serial: string): number | undefined;
  /** Sidecars heard of in the last minute. */
  followers(): number;
  /** Ends roots that are known to be in strange hands, when nobody needs them or when their time is over; until the signal. */
  watch(): Promise<void>;
}

interface TrustOptions {
  readonly roots: Roots;
  readonly authority: AuthorityOptions;
  readonly inventory: Inventory;
  readonly audit: AuditLog;
  readonly isRevoked: (serial: string) => boolean;
  /** Of a certificate whose files the store keeps: whether its bundle is the one in force; undefined when it does not. */
  readonly heldFiles: (entry: InventoryEntry, bundlePem: string) => Promise<{ readonly current: boolean } | undefined>;
  /** Open join tokens: who uses one must find the root it pins. */
  readonly openTokens: () => Promise<readonly TokenRecord[]>;
  /** Called after each step, before it resolves: what follows from it and may be repeated. */
  readonly changed: () => Promise<void>;
  readonly signal: AbortSignal;
}

const WITHIN_MS = 5 * MINUTE;
const ALIVE_MS = MINUTE;
/** A report that says nothing new is noted again after this long, so that the silent can be told from the gone. */
const NOTE_AGAIN_MS = HOUR;

export function createTrust(options: TrustOptions): Trust {
  const { inventory, audit, isRevoked, signal } = options;
  const { stateDirectory, clock, log } = options.authority;
  const startedAt = clock.now();
  const inTurn = createTurns();
  const news = new EventEmitter().setMaxListeners(0);
  const heard = new Map<string, { readonly at: number; readonly oldPeers: number }>();
  let { roots } = options;
  let vouching = new WeakMap<InventoryEntry, number | undefined>();

  const rootFor = (entry: InventoryEntry) => {
    if (!vouching.has(entry)) vouching.set(entry, rootOf(roots, entry.pem));
    return vouching.get(entry);
  };
  // Where there was never another root, no certificate has to be read for that.
  const isOld = (entry: InventoryEntry) =>
    roots.roots.size > 1 && (rootFor(entry) ?? Number.POSITIVE_INFINITY) < roots.state.signing;

  /** In date, not revoked, and as far as the inventory knows not replaced. */
  const inUse = (): InventoryEntry[] => {
    const now = clock.now();
    return inventory.all().filter(({ notAfter, serial, kept, supersededBy }) => {
      return notAfter > now && !isRevoked(serial) && (kept === true || supersededBy === undefined);
    });
  };
  const holdings = async (): Promise<Holding[]> => {
    const found: Holding[] = [];
    for (const entry of inUse()) {
      const files = entry.kept === true ? await options.heldFiles(entry, roots.authority.bundlePem) : undefined;
      // Of those made for the store, what lies there counts.
      if (entry.kept === true && files === undefined) continue;
      const told = heard.get(entry.serial);
      found.push({ entry, old: isOld(entry), files, oldPeers: told?.oldPeers ?? 0, heardAt: told?.at });
    }
    return found;
  };
  const asked = ({ absentMs = Number.POSITIVE_INFINITY, closeConnections }: Patience = {}) => ({
    ...{ bundle: roots.bundle.sha256, now: clock.now(), startedAt, absentMs, closeConnections },
  });

  /** Tokens from before the new root signed pin a root that would be gone. */
  const pinned = async (): Promise<Lacking[]> => {
    const open = (await options.openTokens()).filter(({ issuedAt }) => issuedAt < roots.state.since);
    return open.map(({ id, service, namespace, expiresAt }) => ({
      ...{ service, namespace, serial: id, holder: 'token', seenAt: undefined, until: expiresAt },
      why: 'a join token that pins the old root is open',
    }));
  };

  const lackingNow = async (all: readonly Holding[], patience?: Patience): Promise<Lacking[]> => {
    const phase = phaseOf(roots.state);
    if (phase === 'steady') return [];
    if (phase === 'staged') return lackingBundle(all, asked(patience));
    return [...lackingEnd(all, asked(patience)), ...(await pinned())];
  };

  const status = async (patience?: Patience): Promise<TrustStatus> => {
    const { state, bundle } = roots;
    const all = await holdings();
    const enrolled = all.filter(({ entry }) => !isSilent(entry));
    const confirmed = enrolled.filter(({ entry }) => entry.reported?.bundle === bundle.sha256).length;
    return {
      generation: state.generation,
      phase: phaseOf(state),
      since: state.since,
      deadline: state.deadline,
      bundleSha256: bundle.sha256,
      roots: [...roots.roots]
        .sort(([a], [b]) => a - b)
        .map(([number, root]) => ({
          number,
          subject: root.subject,
          sha256: root.fingerprint256,
          notAfter: root.notAfter,
          state: stateOf(number, state),
          key: keyOf(number, roots),
          certificates: all.filter(({ entry }) => rootFor(entry) === number).length,
        })),
      sidecars: { total: enrolled.length, confirmed },
      lacking: await lackingNow(all, patience),
      next: nextStep(state),
    };
  };

  const commit = async (next: TrustState) => {
    const opened = await openRoots(options.authority, next);
    await writeTrustState(stateDirectory, next);
    roots = opened;
    vouching = new WeakMap();
    const { generation, signing, trusted } = next;
    log.info(
      { event: 'trust_changed', generation, phase: phaseOf(next), signing, trusted },
      `trust is ${phaseOf(next)}: root ${signing} signs, ${trusted.length} trusted`,
    );
    try {
      await destroyRetired(stateDirectory, next);
      await options.changed();
    } catch (error) {
      // The step has happened; what follows from it is tried again every minute and at the next start.
      log.error(
        { event: 'trust_unfinished', err: error },
        'a part of what follows from the step on trust is not done yet',
      );
    }
    news.emit('changed');
  };

  /** What signs the next root once more. A stolen key is not waited for, nor one that nobody can bring. */
  const crossSigner = (step: TrustStep): Signer | undefined => {
    const { authority } = roots;
    const waits = step === 'stage' && authority.offline?.how !== 'imported';
    return waits ? rootSignerOf(authority, 'the next root cannot be cross-signed') : authority.rootSigner;
  };

  const perform = async (step: TrustStep, next: TrustState, given?: GivenCa) => {
    const number = next.trusted.at(-1) ?? 0;
    const made = step === 'stage' || step === 'compromise';
    const root = made
      ? (await makeAuthority(options.authority, { number, previous: crossSigner(step), given })).root
      : roots.authority.root;
    // The journal first: after a crash there is a line too many, never a step without one.
    await audit.append({
      action: ACTIONS[step],
      actor: 'operator',
      serial: root.serial,
      result: 'ok',
      why: `generation ${next.generation}: root ${next.signing} signs, trusted are ${next.trusted.join(', ')}`,
    });
    await commit(next);
  };

  const finish = async () => {
    const { state } = roots;
    if (phaseOf(state) !== 'compromised') return;
    const late = (state.deadline ?? 0) <= clock.now();
    if (late || !needsOld(await holdings(), asked())) await perform('retire', STEPS.retire(state, clock.now()));
  };
  async function watch(): Promise<void> {
    while (!signal.aborted) {
      try {
        await clock.sleep(SECOND, signal);
        if (phaseOf(roots.state) === 'compromised') await inTurn('step', finish);
      } catch (error) {
        if (!isAbort(error))
          log.error({ event: 'trust_failed', err: error }, 'the compromised root could not be ended');
      }
    }
  }

  return {
    authority: () => roots.authority,
    bundle: () => roots.bundle,
    proving: () => roots.proving,
    signers: () => roots.signers,
    roots: () => roots.roots,
    reopen: (work) =>
      inTurn('step', async () => {
        await work();
        roots = await openRoots(options.authority, roots.state);
        vouching = new WeakMap();
      }),
    generation: () => roots.state.generation,
    phase: () => phaseOf(roots.state),
    since: () => roots.state.since,
    isOld,
    async heard(entry, bundle, oldPeers) {
      const at = clock.now();
      heard.set(entry.serial, { at, oldPeers });
      const { reported } = entry;
      if (reported?.bundle === bundle && at - reported.at < NOTE_AGAIN_MS) return;
      await inventory.report(entry.serial, { bundle, at });
    },
    status,
    watch,
    take(step, { dryRun = false, withinMs = WITHIN_MS, given, ...patience } = {}) {
      return inTurn('step', async () => {
        const now = clock.now();
        const next =
          step === 'compromise' ? STEPS.compromise(roots.state, now, withinMs) : STEPS[step](roots.state, now);
        if (step === 'stage') crossSigner(step);
        const before = await status(patience);
        if (dryRun) return before;
        if (before.lacking.length > 0 && (step === 'activate' || step === 'retire')) throw notYet(step, before.lacking);
        await perform(step, next, given);
        return await status();
      });
    },
    async whenNot(known, waiting) {
      try {
        while (roots.state.generation === known) await once(news, 'changed', { signal: waiting });
      } catch (error) {
        if (!isAbort(error)) throw error;
      }
    },
    heardAt: (serial) => heard.get(serial)?.at,
    behind() {
      const { sha256 } = roots.bundle;
      return inUse().filter((entry) => !isSilent(entry) && (isOld(entry) || entry.reported?.bundle !== sha256)).length;
    },
    followers() {
      const now = clock.now();
      for (const [serial, { at }] of heard)
        if (inventory.get(serial) === undefined || now - at > HOUR) heard.delete(serial);
      return [...heard.values()].filter(({ at }) => now - at < ALIVE_MS).length;
    },
  };
}

const ACTIONS = {
  stage: 'trust_staged',
  unstage: 'trust_unstaged',
  activate: 'trust_activated',
  retire: 'trust_retired',
  compromise: 'trust_compromised',
} as const;

function stateOf(number: number, { signing, trusted }: TrustState): RootRecord['state'] {
  if (!trusted.includes(number)) return 'gone';
  if (number === signing) return 'signs';
  return number > signing ? 'next' : 'old';
}

function keyOf(number: number, { state, offline }: Roots): RootRecord['key'] {
  if (!state.trusted.includes(number)) return 'destroyed';
  return offline.has(number) ? 'offline' : 'here';
}

/** So many are named in the message; the status has all. */
const NAMED = 5;

function notYet(step: TrustStep, lacking: readonly Lacking[]): SidelockError {
  const named = lacking
    .slice(0, NAMED)
    .map(({ service, serial, why }) => `${service} (${serial.slice(0, 12)}): ${why}`);
  const more = lacking.length > NAMED ? `; and ${lacking.length - NAMED} more` : '';
  return new SidelockError('SL-TRUST-001', `trust ${step} has to wait for ${lacking.length}`, {
    why: named.join('; ') + more,
    data: { lacking: lacking.slice(0, 100) },
  });
}
