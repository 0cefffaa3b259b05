import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import t from 'tap';
import { buildBundle, SIDECAR } from '../../bench/bundle.ts';
import { pssBytes } from '../../bench/proc.ts';
import { startMixed } from '../support/mixed-rig.ts';

/**
 * npm run soak:flat -- --seconds 600 --idle 10000: memory (PSS) of both sidecars under mixed load, and with idle
 * connections; from the bundle, with the flags of the image. One process may hold 2 of each: `ulimit -n` above twice that number.
 */
const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '600' }, idle: { type: 'string', default: '10000' } },
});
const [seconds, idle] = [Number(values.seconds), Number(values.idle)];
const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);

t.setTimeout(0);
await buildBundle();
for (const streams of [true, false]) {
  const how = streams ? 'in streams' : 'without streams';
  t.test(`memory ${how}`, { timeout: 0 }, async (t) => {
    const { orders, web, load, tcpPort } = await startMixed(t, streams, SIDECAR);
    const pss = () => ({ orders: pssBytes(orders.child.pid ?? 0), web: pssBytes(web.child.pid ?? 0) });
    const tell = (what: string, { orders, web }: ReturnType<typeof pss>) =>
      process.stderr.write(`${how}, ${what}: orders ${megabytes(orders)} MB, web ${megabytes(web)} MB\n`);
    const seen: Array<ReturnType<typeof pss>> = [];
    for (let second = 0; second < seconds; second += seconds / 20) {
      await delay((seconds / 20) * 1_000);
      const now = pss();
      seen.push(now);
      tell(`mixed load, ${Math.round(second + seconds / 20)} s`, now);
    }
    t.same((await load.stop()).failures, []);
    const after = seen.slice(seen.length / 4);
    for (const side of ['orders', 'web'] as const) {
      const [first, last] = [after.slice(0, 5), after.slice(-5)].map((part) => mean(part.map((one) => one[side])));
      const grown = ((last ?? 0) / (first ?? 1) - 1) * 100;
      t.ok(grown < 10, `${side} ${how}: ${grown.toFixed(1)} % from the first third after warm-up to the last`);
    }

    const sockets: Socket[] = [];
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
    });
    const before = pss();
    tell('before idle connections', before);
    while (sockets.length < idle)
      sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => open(tcpPort)))));
    await delay(3_000);
    const held = pss();
    tell(`${idle} idle connections`, held);
    for (const side of ['orders', 'web'] as const) {
      process.stderr.write(`  ${side}: ${((held[side] - before[side]) / idle / 1e3).toFixed(1)} kB each\n`);
    }
  });
}

/** A connection over which one byte went there and back, so that it is open at the other end too. */
async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.write('x');
  await once(socket, 'data');
  socket.on('error', () => {});
  return socket;
}

function mean(all: readonly number[]): number {
  return all.reduce((sum, one) => sum + one, 0) / all.length;
}
