import { join } from 'node:path';
import { SidelockError } from '../base/errors.ts';
import { writeFileDurable } from '../store/files.ts';
import { KEY_MODE } from '../store/layout.ts';
import { readJsonFile } from './json-file.ts';

export type TrustPhase = 'steady' | 'staged' | 'active' | 'compromised';

/** Where the succession of roots stands; written as a whole, so that each step happened or did not. */
export interface TrustState {
  /** Grows with each step. */
  readonly generation: number;
  /** Number of the root that signs. */
  readonly signing: number;
  /** Numbers of the roots in the bundle, oldest first. */
  readonly trusted: readonly number[];
  /** Roots that were. Their certificates are kept, their keys are gone. */
  readonly retired: readonly number[];
  /** When the last step was taken, ms since the epoch. */
  readonly since: number;
  /** When the roots before `signing` go although somebody still needs them, ms since the epoch. */
  readonly deadline?: number;
}

export const FIRST: TrustState = { generation: 1, signing: 1, trusted: [1], retired: [], since: 0 };

const FILE = 'trust.json';

export function phaseOf({ signing, trusted, deadline }: TrustState): TrustPhase {
  if (trusted.length === 1) return 'steady';
  if (deadline !== undefined) return 'compromised';
  return signing === trusted.at(-1) ? 'active' : 'staged';
}

/** The numbers of roots in the bundle before the one that signs. */
export function oldRoots({ signing, trusted }: TrustState): number[] {
  return trusted.filter((number) => number < signing);
}

/** A number that no root has had. */
export function nextNumber({ trusted, retired }: TrustState): number {
  return Math.max(...trusted, ...retired) + 1;
}

/**
 * The state after a step.
 * @throws SidelockError SL-TRUST-002 when it does not follow what was before
 */
export const STEPS = {
  stage(state: TrustState, now: number): TrustState {
    if (phaseOf(state) !== 'steady') throw outOfTurn('stage', state);
    return step(state, now, { trusted: [...state.trusted, nextNumber(state)] });
  },
  /** Back from `stage`, before anything was signed by the new root. */
  unstage(state: TrustState, now: number): TrustState {
    if (phaseOf(state) !== 'staged') throw outOfTurn('stage --undo', state);
    const trusted = state.trusted.filter((number) => number <= state.signing);
    const retired = state.trusted.filter((number) => number > state.signing);
    return step(state, now, { trusted, retired: [...state.retired, ...retired] });
  },
  activate(state: TrustState, now: number): TrustState {
    const next = state.trusted.at(-1);
    if (phaseOf(state) !== 'staged' || next === undefined) throw outOfTurn('activate', state);
    return step(state, now, { signing: next });
  },
  retire(state: TrustState, now: number): TrustState {
    if (!['active', 'compromised'].includes(phaseOf(state))) throw outOfTurn('retire', state);
    const { deadline: _, ...rest } = state;
    return step(rest, now, { trusted: [state.signing], retired: [...state.retired, ...oldRoots(state)] });
  },
  /** A root that was staged lay beside the one that is lost, so a new one is made, and signs at once. */
  compromise(state: TrustState, now: number, withinMs: number): TrustState {
    const signing = nextNumber(state);
    const kept = state.trusted.filter((number) => number <= state.signing);
    const unused = state.trusted.filter((number) => number > state.signing);
    return step(state, now, {
      signing,
      trusted: [...kept, signing],
      retired: [...state.retired, ...unused],
      deadline: now + withinMs,
    });
  },
} as const;

/** Undefined when there is none yet. @throws SL-STORE-003 when it is damaged */
export function readTrustState(stateDirectory: string): Promise<TrustState | undefined> {
  return readJsonFile<TrustState>(join(stateDirectory, FILE));
}

/** The moment a step happens. @throws SL-FS-003, and it has not happened */
export async function writeTrustState(stateDirectory: string, state: TrustState): Promise<void> {
  await writeFileDurable(join(stateDirectory, FILE), JSON.stringify(state), KEY_MODE);
}

function step(state: TrustState, now: number, change: Partial<TrustState>): TrustState {
  return { ...state, ...change, generation: state.generation + 1, since: now };
}

const NEXT: Readonly<Record<TrustPhase, string>> = {
  steady: 'sidelock trust stage   makes the next root',
  staged: 'sidelock trust activate   lets it sign',
  active: 'sidelock trust retire   ends the old root',
  compromised: 'sidelock trust status   shows who is still behind; the old root goes by itself',
};

/** What comes after a phase, as a command. */
export function nextStep(state: TrustState): string {
  return NEXT[phaseOf(state)];
}

function outOfTurn(wanted: string, state: TrustState): SidelockError {
  return new SidelockError('SL-TRUST-002', `trust ${wanted} does not come now`, {
    why: `the phase is ${phaseOf(state)}: ${state.trusted.length} trusted, root ${state.signing} signs`,
    fix: nextStep(state),
  });
}
