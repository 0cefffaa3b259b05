import { type Command, InvalidArgumentError } from 'commander';
import type { DashboardAnswer } from '../api/wire.ts';
import { HOUR, SECOND, systemClock } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import { parseDuration } from '../config/units.ts';
import { type Context, command } from './command.ts';
import type { ManagerFlags } from './manager-options.ts';
import type { Output } from './output.ts';
import { stopSignal } from './signals.ts';
import { roughly } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface MonitorFlags extends ManagerFlags {
  /** Milliseconds. */
  readonly duration?: number;
  readonly interval: number;
}

export function monitorCommand(context: Context): Command {
  const made = command('monitor', {
    summary: 'health and alerts as they change',
    description:
      'A line each interval, and one for each alert that begins or ends. With --format json one document a line, the data of the dashboard. Ends after the duration, or with Ctrl-C.',
    examples: [
      ['sidelock monitor --duration 24', 'for 24 hours'],
      ['sidelock monitor --duration 90s --interval 5s', 'for a look'],
      ['sidelock monitor -o json | jq .health.summary', 'for a script'],
    ],
  })
    .optionsGroup('How long')
    .option(
      '--duration <HOURS>',
      'hours, or with a unit: 30s, 90m, 24h, 7d; until Ctrl-C unless given',
      hoursOrDuration,
    )
    .option('--interval <TIME>', 'between two lines, with a unit; 10s unless given', interval, 10 * SECOND);
  return addStorageFlags(made).action(async (flags: MonitorFlags) => {
    const stop = stopSignal();
    const { duration = Number.POSITIVE_INFINITY, interval: every } = flags;
    await withManager(context, flags, {
      work: (client) => watch({ look: () => client.dashboard(), duration, every, output: context.output, stop }),
    });
  });
}

interface Watch {
  readonly look: () => Promise<DashboardAnswer>;
  /** Milliseconds, from the first look. */
  readonly duration: number;
  /** Milliseconds. */
  readonly every: number;
  readonly output: Output;
  readonly stop: AbortSignal;
}

async function watch({ look, duration, every, output, stop }: Watch): Promise<void> {
  // Waiting is all this process does, and the clock's waits keep none alive.
  const alive = setInterval(() => {}, HOUR);
  const end = systemClock.now() + duration;
  let before: DashboardAnswer['alerts']['active'] = [];
  try {
    while (!stop.aborted) {
      const data = await look();
      const { active } = data.alerts;
      if (output.json) output.raw(`${JSON.stringify(data)}\n`);
      else output.print([summaryLine(data), ...changes(before, active, output)].join('\n'));
      before = active;
      const left = end - systemClock.now();
      if (left <= 0) return;
      await systemClock.sleep(Math.min(every, left), stop);
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  } finally {
    clearInterval(alive);
  }
}

function summaryLine({ generated_at, metrics, health, alerts }: DashboardAnswer): string {
  const renewal = metrics.next_renewal;
  const next = renewal === null ? '' : `, next renewal ${until(Date.parse(renewal) - systemClock.now())}`;
  const { total_certificates: total, expiring_certificates: expiring, expired_certificates: expired } = metrics;
  const share = health.summary.health_percentage.toFixed(1);
  return `${generated_at.slice(0, 19)}Z  ${total} certificates, ${share} % healthy, ${expiring} expiring, ${expired} expired${next}, ${alerts.active.length} alerts`;
}

function until(ms: number): string {
  return ms > 0 ? `in ${roughly(ms)}` : 'due';
}

type Active = DashboardAnswer['alerts']['active'];

function changes(before: Active, now: Active, { signs, style }: Output): string[] {
  const same = (a: Active[number]) => (b: Active[number]) => a.id === b.id && a.level === b.level;
  const begun = now.filter((alert) => !before.some(same(alert)));
  const over = before.filter(({ id }) => !now.some((alert) => alert.id === id));
  return [
    ...begun.map(({ level, message, fix }) => `  ${style('yellow', signs.warn)} ${level}: ${message}\n    fix: ${fix}`),
    ...over.map(({ message }) => `  ${style('green', signs.ok)} resolved: ${message}`),
  ];
}

/** The guide counts in hours. */
function hoursOrDuration(text: string): number {
  return interval(/^\d+$/.test(text) ? `${text}h` : text);
}

function interval(text: string): number {
  const ms = parseDuration(text);
  if (typeof ms === 'number' && ms > 0) return ms;
  throw new InvalidArgumentError(typeof ms === 'number' ? 'more than nothing is needed' : ms.problem);
}
