import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { SIDECAR } from '../../bench/bundle.ts';
import { cpuOf } from '../../bench/proc.ts';
import { bundleForFaults } from '../support/faults/bundle.ts';
import { startFaultRig } from '../support/faults/rig.ts';

const LONG = process.env['SIDELOCK_FAULTS_LONG'] === '1';
/** 20,000 descriptors are all that a process has on some machines, so that both ends are in processes of their own. */
const [COUNT, HOLD_MS] = LONG ? [9_900, 600_000] : [2_000, 5_000];
const MAX_RSS = 350 << 20;
const CHILD = join(import.meta.dirname, '../support/faults/idle-child.ts');

t.test(`F25 ${COUNT} idle connections for ${HOLD_MS / 1_000} s`, { timeout: HOLD_MS + 110_000 }, async (t) => {
  await bundleForFaults();
  // All of them are of one caller.
  const orders = { config: { limits: { maxConnectionsPerCaller: 10_000 } } };
  const rig = await startFaultRig(t, { program: SIDECAR, orders });
  const sides = [rig.orders, rig.web];
  const before = sides.map((side) => side.rss());
  const child = spawn(process.execPath, [CHILD, String(rig.ports.tcpOut), String(COUNT)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  t.equal(String((await once(child.stdout, 'data'))[0]), 'open\n');
  t.equal(await rig.web.metric('sidelock_connections{direction="outbound",listener="steady-tcp"'), COUNT + 1);

  const { lost, report } = await rig.steady.stop();
  t.same(lost, [], 'the steady client lost nothing');
  t.comment(report);
  await delay(1_000);
  const began = performance.now();
  const cpu = sides.map(({ pid }) => cpuOf(pid).all);
  await delay(HOLD_MS);
  const share = (i: number) =>
    (((cpuOf(sides[i]?.pid ?? 0).all - (cpu[i] ?? 0)) / 1e3 / (performance.now() - began)) * 100).toFixed(1);
  sides.forEach((side, i) => {
    const rss = side.rss();
    const each = ((rss - (before[i] ?? 0)) / COUNT / 1e3).toFixed(1);
    t.comment(`${['orders', 'web'][i]}: RSS ${rss >> 20} MiB, ${each} kB a connection, CPU ${share(i)} %`);
    t.ok(rss <= MAX_RSS);
  });

  child.stdin.write('ping\n');
  t.equal(String((await once(child.stdout, 'data'))[0]), `usable ${COUNT}\n`, 'all are still usable');
  for (const side of sides) await side.endsWell(t);
});
