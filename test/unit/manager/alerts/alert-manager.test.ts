import t from 'tap';
import type { Alert, AlertLevel, Finding } from '../../../../src/manager/alerts/alert.ts';
import { createAlertCenter } from '../../../../src/manager/alerts/alert-manager.ts';
import { fakeClock, settle } from '../../../support/fake-clock.ts';
import { recordingLog } from '../../../support/manager/rig.ts';

function finding(serviceName: string, level: AlertLevel = 'warning'): Finding {
  const rule = 'CertificateExpiringSoon';
  return { rule, level, serviceName, namespace: 'default', message: `${serviceName} ends soon`, fix: 'renew' };
}

function rig() {
  const clock = fakeClock();
  const { log, lines } = recordingLog();
  const results: string[] = [];
  const stop = new AbortController();
  const center = createAlertCenter({ clock, log, signal: stop.signal, onDelivery: (result) => results.push(result) });
  const seen = (level: AlertLevel) => {
    const told: string[] = [];
    center.registerAlertHandler(level, ({ serviceName, level, state }: Alert) => {
      told.push(`${serviceName} ${state === 'resolved' ? state : level}`);
    });
    return told;
  };
  return { clock, lines, results, center, seen, stop };
}

t.test('an alert is told once, when its level changes, and when it is over', async (t) => {
  const { center, seen, clock } = rig();
  const all = seen('info');
  const critical = seen('critical');
  const step = async (...found: Finding[]) => {
    center.report(found);
    await settle();
    return [all.splice(0), critical.splice(0)];
  };
  t.strictSame(await step(finding('web')), [['web warning'], []]);
  t.strictSame(await step(finding('web')), [[], []], 'nothing new');
  const begun = clock.now();
  await clock.advance(1000);
  t.strictSame(await step(finding('web', 'critical'), finding('db')), [
    ['web critical', 'db warning'],
    ['web critical'],
  ]);
  t.strictSame(
    center.active().map((a) => [a.serviceName, a.startsAt]),
    [
      ['web', begun],
      ['db', begun + 1000],
    ],
  );
  t.strictSame(
    await step(finding('web'), finding('db')),
    [['web warning'], ['web resolved']],
    'below what it hears of',
  );
  t.strictSame(await step(), [['web resolved', 'db resolved'], []]);
  t.strictSame(center.active(), []);
  t.strictSame(
    center.recent().map((a) => a.state),
    ['resolved', 'resolved', 'firing', 'firing', 'firing', 'firing'],
  );
});

t.test('a handler that is registered late hears of what fires; one that was taken away of nothing', async (t) => {
  const { center, seen } = rig();
  center.report([finding('web')]);
  const late = seen('warning');
  const gone: Alert[] = [];
  center.registerAlertHandler('info', (alert) => gone.push(alert))();
  center.report([finding('web')]);
  await settle();
  t.strictSame(late, ['web warning']);
  t.strictSame(gone, []);
});

t.test('handlers that throw, reject or hang stop nobody, and are told again', async (t) => {
  const { center, seen, clock, lines, results } = rig();
  let tries = 0;
  let aborted = 0;
  center.registerAlertHandler('info', () => {
    if (++tries === 1) throw new TypeError('first time');
  });
  center.registerAlertHandler('info', async () => await Promise.reject(new TypeError('every time')));
  center.registerAlertHandler('info', (_alert, signal) => {
    signal.addEventListener('abort', () => aborted++);
    return new Promise(() => {});
  });
  const good = seen('info');
  center.report([finding('web')]);
  await settle();
  t.strictSame(good, ['web warning']);
  t.strictSame(results.toSorted(), ['failed', 'failed', 'ok']);
  center.report([finding('web'), finding('db')]);
  await settle();
  t.strictSame(good, ['web warning', 'db warning']);
  t.equal(tries, 3, 'web again, and db');
  t.equal(aborted, 0);
  await clock.advance(30_000);
  t.equal(aborted, 1, 'the one that hangs is told that its time is over');
  t.ok(lines.some(({ event }) => event === 'alert_delivery_failed'));
});

t.test('a receiver that repeats is called at each check while something fires', async (t) => {
  const { center } = rig();
  const calls: Array<[number, number]> = [];
  const deliver = ({ news, firing }: { news: readonly Alert[]; firing: readonly Alert[] }) =>
    calls.push([news.length, firing.length]);
  center.register({ name: 'r', level: 'warning', repeats: true, deliver });
  for (const found of [[], [finding('web')], [finding('web')], [], []]) {
    center.report(found);
    await settle();
  }
  t.strictSame(calls, [
    [1, 1],
    [0, 1],
    [1, 0],
  ]);
});

t.test('nothing is told after the end', async (t) => {
  const { center, seen, stop } = rig();
  const told = seen('info');
  stop.abort();
  center.report([finding('web')]);
  await settle();
  t.strictSame(told, []);
});
