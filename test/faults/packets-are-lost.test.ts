import { execFileSync } from 'node:child_process';
import t from 'tap';
import { DEFAULT_LIMITS, type SidecarOptions } from '../../src/sidecar/options.ts';
import { startLoad } from '../support/load.ts';
import { startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { startMixedApp } from '../support/mixed-load.ts';
import { requireProgram } from '../support/programs.ts';
import { until } from '../support/until.ts';

/** Set in the process whose network is its own: packets of others must not be lost. */
const OWN_NETWORK = 'SIDELOCK_OWN_NETWORK';
const SHARE = 0.3;
const REQUESTS = 150;

if (process.env[OWN_NETWORK] === '1') for (const streams of [true, false]) lossy(streams);
else if (['unshare', 'iptables', 'ip'].every((name) => requireProgram(t, name) !== undefined)) {
  const again = [process.execPath, ...process.execArgv, import.meta.filename];
  const words = ['--user', '--map-root-user', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...again];
  await t.spawn('unshare', words, { env: { ...process.env, [OWN_NETWORK]: '1' } }, 'in a network of its own');
}

function lossy(streams: boolean): void {
  t.test(`F22 ${SHARE * 100} % of the packets of one way are lost; streams ${streams}`, async (t) => {
    const rig = await startRig(t);
    const enrolled = (service: string, more: Partial<SidecarOptions>) =>
      startEnrolled(t, rig, service, { streams, limits: { ...DEFAULT_LIMITS, drainMs: 200 }, ...more });
    const target = { host: '127.0.0.1', port: await startMixedApp(t) };
    const orders = await enrolled('orders', {
      inbound: [{ name: 'http', listen: ANY, target, protocol: 'http', allow: ['web'] }],
    });
    const address = orders.mtls;
    const web = await enrolled('web', {
      outbound: [{ name: 'http', listen: ANY, service: 'orders', address, protocol: 'http', expect: [] }],
    });
    const load = startLoad(web.local.port, { keepAlive: 4, fresh: 2 });
    await until(() => load.answered() > REQUESTS);

    const manager = Number(new URL(rig.url).port);
    for (const [way, ends] of [
      ['to orders', ['--dport', address.port]],
      ['from orders', ['--sport', address.port]],
      ['to the manager', ['--dport', manager]],
      ['from the manager', ['--sport', manager]],
    ] as const) {
      const before = load.answered();
      const began = performance.now();
      lose(ends);
      await until(() => load.answered() > before + REQUESTS);
      const serials = [orders, web].map(({ sidecar }) => sidecar.identity()?.serial);
      await until(async () => {
        await Promise.all([orders, web].map(({ sidecar }) => sidecar.renew().catch(() => {})));
        return [orders, web].every(({ sidecar }, i) => sidecar.identity()?.serial !== serials[i]);
      });
      t.ok(lost() > 0, `${way}: ${lost()} packets were lost`);
      t.comment(`${load.answered() - before} requests in ${Math.round(performance.now() - began)} ms`);
    }
    stopLosing();
    const { requests, failures } = await load.stop();
    t.same(failures, [], `${requests} requests, none failed`);
  });
}

const iptables = (...words: readonly (string | number)[]) =>
  execFileSync('iptables', words.map(String), { encoding: 'utf8' });

function lose(ends: readonly (string | number)[]): void {
  stopLosing();
  const random = ['-m', 'statistic', '--mode', 'random', '--probability', SHARE];
  iptables('-A', 'INPUT', '-p', 'tcp', ...ends, ...random, '-j', 'DROP');
}

const stopLosing = () => iptables('-F', 'INPUT');
/** Packets, of the rule in force. */
const lost = () => Number(/^ *(\d+).* DROP /m.exec(iptables('-nvxL', 'INPUT'))?.[1] ?? 0);
