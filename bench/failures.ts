import type { Figure } from './figures.ts';
import type { Measured, Result } from './results.ts';

/** A load may lose this share of its requests: a busy machine makes peers time out. */
const ERROR_SHARE = 1 / 1_000;

/**
 * Why a run has failed, a sentence each; empty when it has not. A budget beside a peer is none of it: it depends on the
 * peer and the machine.
 */
export function failures(figures: readonly Figure[], measured: readonly Measured[]): string[] {
  return [...figures.flatMap(missedTarget), ...measured.flatMap(failedScenario)];
}

function missedTarget({ name, p95Ms, targetMs }: Figure): string[] {
  if (targetMs === undefined || p95Ms < targetMs) return [];
  return [`${name}: p95 is ${p95Ms.toFixed(1)} ms, the guide asks for less than ${targetMs} ms`];
}

function failedScenario({ scenario, results, faults }: Measured): string[] {
  const problems = [...faults, ...results.flatMap(failedLoad)];
  if (results.length === 0 && faults.length === 0) problems.push('no peer that knows its protocol took part');
  return problems.map((problem) => `${scenario}: ${problem}`);
}

function failedLoad({ peer, samples }: Result): string[] {
  const silent = samples.findIndex(({ requests, answered }) => requests <= 0 || answered === 0);
  if (silent >= 0) return [`${peer} had 0 requests answered in run ${silent + 1}`];
  const answered = samples.reduce((sum, s) => sum + s.answered, 0);
  const errors = samples.reduce((sum, s) => sum + s.errors, 0);
  if (errors <= ERROR_SHARE * (answered + errors)) return [];
  return [`${peer} failed ${errors} of ${answered + errors} requests, more than 1 in ${1 / ERROR_SHARE}`];
}
