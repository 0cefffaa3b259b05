import { Agent, request } from 'node:http';
import t from 'tap';
import { startFaultRig } from '../support/faults/rig.ts';
import { until } from '../support/until.ts';

/** A line of the access log is about as long as the path, so this fills the pipe and the buffer behind it. */
const PATH = `/${'x'.repeat(6_000)}`;

t.test('F30 nobody reads the log: requests go on, lines are dropped and counted, and it ends when asked', async (t) => {
  const rig = await startFaultRig(t, {
    // Standard error leads into a pipe whose reader sleeps.
    orders: { config: { accessLog: 1 }, before: 'exec 2> >(exec sleep 60 > /dev/null 2>&1)' },
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  t.teardown(() => agent.destroy());
  const dropped = () => rig.orders.metric('sidelock_log_lines_dropped_total');
  t.equal(await dropped(), 0);
  const before = rig.orders.rss();
  while ((await dropped()) < 200) await Promise.all(Array.from({ length: 32 }, () => get(rig.ports.httpOut, agent)));
  t.comment(`${await dropped()} lines dropped, RSS ${before >> 20} MiB and then ${rig.orders.rss() >> 20} MiB`);
  t.equal((await fetch(`${rig.orders.admin()}/readyz`)).status, 200);
  await rig.finish(t);
});

t.test('F30 a reader that falls behind is told how many lines are missing', async (t) => {
  const rig = await startFaultRig(t, { orders: { config: { accessLog: 1 } } });
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  t.teardown(() => agent.destroy());
  rig.orders.child.stderr?.pause();
  const dropped = () => rig.orders.metric('sidelock_log_lines_dropped_total');
  while ((await dropped()) === 0) await Promise.all(Array.from({ length: 32 }, () => get(rig.ports.httpOut, agent)));
  rig.orders.child.stderr?.resume();
  await until(() => rig.orders.events('log_lines_dropped').length > 0);
  t.match(rig.orders.events('log_lines_dropped')[0], { level: 40, dropped: Number });
  await rig.finish(t);
});

function get(port: number, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, agent, path: PATH }, (response) => {
      response.resume().once('end', resolve);
    })
      .once('error', reject)
      .end();
  });
}
