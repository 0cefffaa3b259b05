import { type Clock, SECOND } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import { type Alert, type AlertLevel, atLeast, type Finding } from './alert.ts';

/** Told of one alert: when it begins, when its level changes, and when it is resolved. What it returns is awaited. */
export type AlertHandler = (alert: Alert, signal: AbortSignal) => unknown;

/** A way out for alerts. Each has its own turn: one that throws or hangs holds up no other. */
export interface Receiver {
  readonly name: string;
  /** The least level it is told of. */
  readonly level: AlertLevel;
  /** Called at every check, news or not, with all that fires, for receivers that forget what is not repeated. */
  readonly repeats?: boolean;
  /** `news` is what it was not told yet. What rejects, or takes longer than 30 s, is told again at the next check. */
  readonly deliver: (
    batch: { readonly news: readonly Alert[]; readonly firing: readonly Alert[] },
    signal: AbortSignal,
  ) => unknown;
}

export interface AlertManager {
  /**
   * Calls `handler` for each alert of `level` or graver. What fires already is told at the next check.
   * Returns what takes the handler away again.
   */
  registerAlertHandler(level: AlertLevel, handler: AlertHandler): () => void;
  register(receiver: Receiver): () => void;
  /** What fires now, the gravest first. */
  active(): Alert[];
  /** What began or was resolved, newest first; the last 200. */
  recent(): Alert[];
}

interface AlertManagerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly onDelivery: (result: 'ok' | 'failed') => void;
  /** Ends deliveries under way. */
  readonly signal: AbortSignal;
}

interface AlertCenter extends AlertManager {
  /** Takes what one check found, whole: what is not in it any more is resolved. Waits for no receiver. */
  report(found: readonly Finding[]): void;
}

const DELIVERY_MS = 30 * SECOND;
const KEPT = 200;

/** Knows what fires from check to check, in memory: after a restart what still is wrong is told once more. */
export function createAlertCenter(options: AlertManagerOptions): AlertCenter {
  const { clock } = options;
  const active = new Map<string, Alert>();
  const recent: Alert[] = [];
  const receivers = new Set<ReturnType<typeof inbox>>();

  const keep = (alert: Alert) => {
    recent.unshift(alert);
    recent.length = Math.min(recent.length, KEPT);
  };
  const register = (receiver: Receiver) => {
    const box = inbox(receiver, active, options);
    receivers.add(box);
    return () => void receivers.delete(box);
  };

  return {
    report(found) {
      const now = clock.now();
      const ids = new Set<string>();
      for (const finding of found) {
        const id = `${finding.rule}/${finding.namespace}/${finding.serviceName}`;
        ids.add(id);
        const known = active.get(id);
        const alert: Alert = { ...finding, id, state: 'firing', startsAt: known?.startsAt ?? now };
        active.set(id, alert);
        if (known?.level !== alert.level) keep(alert);
      }
      for (const [id, alert] of active) {
        if (ids.has(id)) continue;
        active.delete(id);
        keep({ ...alert, state: 'resolved', endsAt: now });
      }
      for (const receiver of receivers) void receiver();
    },
    register,
    registerAlertHandler: (level, handler) => register(eachAlone(level, handler)),
    active: () =>
      [...active.values()].sort((a, b) =>
        a.level === b.level ? a.startsAt - b.startsAt : atLeast(a.level, b.level) ? -1 : 1,
      ),
    recent: () => [...recent],
  };
}

function eachAlone(level: AlertLevel, handler: AlertHandler): Receiver {
  return {
    name: 'handler',
    level,
    async deliver({ news }, signal) {
      const results = await Promise.allSettled(news.map(async (alert) => await handler(alert, signal)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    },
  };
}

/** One receiver and what it was told: the difference to what fires is its news, whenever it has time for them. */
function inbox(receiver: Receiver, active: ReadonlyMap<string, Alert>, options: AlertManagerOptions) {
  const { clock, log, onDelivery, signal } = options;
  const told = new Map<string, Alert>();
  let running = false;
  let again = false;

  const turn = async () => {
    const firing = [...active.values()].filter((alert) => atLeast(alert.level, receiver.level));
    const ids = new Set(firing.map(({ id }) => id));
    const begun = firing.filter(({ id, level }) => told.get(id)?.level !== level);
    const over = [...told.values()].filter(({ id }) => !ids.has(id));
    const news = [...begun, ...over.map((alert): Alert => ({ ...alert, state: 'resolved', endsAt: clock.now() }))];
    if (news.length === 0 && !(receiver.repeats === true && firing.length > 0)) return;
    try {
      await inTime((end) => receiver.deliver({ news, firing }, end), clock, signal);
      for (const { id } of over) told.delete(id);
      for (const alert of begun) told.set(alert.id, alert);
      onDelivery('ok');
    } catch (err) {
      if (signal.aborted) return;
      onDelivery('failed');
      const text = `alerts could not be told by ${receiver.name}; the next check tries again`;
      log.error({ event: 'alert_delivery_failed', receiver: receiver.name, alerts: news.length, err }, text);
    }
  };

  return async () => {
    again = true;
    if (running) return;
    running = true;
    while (again && !signal.aborted) {
      again = false;
      await turn();
    }
    running = false;
  };
}

/** Rejects when `work` does, or when it has not ended in time, whatever it is still doing. */
async function inTime(work: (signal: AbortSignal) => unknown, clock: Clock, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const end = AbortSignal.any([over.signal, signal]);
  const late = clock.sleep(DELIVERY_MS, end).then(() => {
    throw new DOMException(`it took longer than ${DELIVERY_MS / SECOND} s`, 'TimeoutError');
  });
  try {
    await Promise.race([late, (async () => await work(end))()]);
  } finally {
    late.catch(() => {});
    over.abort();
  }
}
