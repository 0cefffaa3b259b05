import type { DashboardAnswer } from '../../api/wire.ts';
import { type Finding, fault, ok, orOk } from './finding.ts';

/** One place that was tried. */
export interface Reached {
  readonly what: string;
  readonly where: string;
  /** Why it could not be reached. */
  readonly why: string | undefined;
}

export interface ManagerFacts {
  readonly storage: string;
  /** False when one was started for this check alone. */
  readonly running: boolean;
  readonly address: Reached;
  readonly metrics: Reached;
  readonly receivers: readonly Reached[];
  readonly alerts: DashboardAnswer['alerts']['active'];
}

/** The manager as a program, and whom it tells of alerts. */
export function checkManager(facts: ManagerFacts): Finding[] {
  const { storage, running, receivers } = facts;
  if (!running) {
    const why = 'nothing is renewed, revoked or told meanwhile; one was started for this check alone';
    const fix = `sidelock manager --storage ${storage}`;
    return [fault('manager.running', 'warning', `no manager runs on ${storage}`, { why, fix }), ...alerting(facts)];
  }
  return [
    ok('manager.running', `a manager runs on ${storage}`),
    reached('manager.address', facts.address, 'set `address` to one that sidecars reach'),
    reached('manager.metrics', facts.metrics, 'set `health` to an address that can be reached from here'),
    ...orOk(
      receivers
        .filter(({ why }) => why !== undefined)
        .map((one) => reached('alerts.receivers', one, 'correct `monitoring` in the config, or start it')),
      'alerts.receivers',
      receivers.length === 0
        ? 'alerts are only logged'
        : receivers.map(({ what, where }) => `${what} ${where}`).join(', '),
    ),
    ...alerting(facts),
  ];
}

function reached(id: 'manager.address' | 'manager.metrics' | 'alerts.receivers', one: Reached, fix: string): Finding {
  const { what, where, why } = one;
  if (why === undefined) return ok(id, `${what} at ${where}`);
  return fault(id, 'error', `${what} at ${where} cannot be reached`, { why, fix });
}

/** What other checks do not tell. */
function alerting({ alerts }: ManagerFacts): readonly Finding[] {
  const grave = { info: 'info', warning: 'warning', error: 'error', critical: 'error' } as const;
  return orOk(
    alerts.map(({ level, message, fix }) => fault('alerts.firing', grave[level], message, { fix })),
    'alerts.firing',
    'no alert fires',
  );
}
