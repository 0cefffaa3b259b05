// What a caller of a sidecar notices while another one attacks it: threats.md X5, X8 to X11, X19, X20, X22.
// Usage: node bench/attacks.ts [SECONDS]     (3 for each attack unless given)
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { Agent, get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { listen } from '../src/base/listen.ts';
import { freePort } from '../test/support/servers.ts';
import { ATTACKS, type AttackName, attack } from './attackers.ts';
import { buildBundle } from './bundle.ts';
import { writeMaterial } from './material.ts';
import { inbound, startSidecar } from './peers/sidelock.ts';
import { startInto } from './process.ts';
import { median, percentile } from './statistics.ts';

const EVERY_MS = 10;
/** Not that of the attackers: handshakes that fail are counted by address. */
const CALLER = '127.0.0.2';
const SETTLE_MS = 500;

if (process.send === undefined) await main(Number(process.argv[2] ?? 3) * 1_000);
else {
  const [, , name, port, directory] = process.argv;
  await attack(name as AttackName, Number(port), await identity(directory ?? ''));
}

async function main(ms: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-attacks-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true }));
  await buildBundle();
  const material = await writeMaterial(directory);
  const app = createServer((_, response) => response.end('ok'));
  const { port: target } = await listen(app, { host: '127.0.0.1', port: 0 }, 'the app');
  stack.defer(() => void app.close());
  const port = await freePort();
  const settings = inbound({ material, protocol: 'http', port, target });
  await startSidecar({ directory, identity: material.server, settings, port, start: startInto(stack) });
  const agent = new Agent({ ...(await identity(material.client.directory)), keepAlive: true, maxSockets: 4 });
  stack.defer(() => agent.destroy());

  await victim(agent, port, ms);
  const quiet = await victim(agent, port, ms);
  tell('nothing', quiet, quiet);
  for (const name of ATTACKS) {
    await using attacker = start(name, port, material.client.directory);
    await delay(SETTLE_MS);
    tell(name, await victim(agent, port, ms), quiet);
    await attacker[Symbol.asyncDispose]();
    await delay(SETTLE_MS);
  }
  // The certificate of X22, which is the caller's too, waits so long.
  await delay(11_000);
  tell('nothing', await victim(agent, port, ms), quiet);
}

interface Seen {
  readonly times: readonly number[];
  readonly failed: number;
}

/** A request every so many ms, over connections that stay. */
async function victim(agent: Agent, port: number, ms: number): Promise<Seen> {
  const times: number[] = [];
  let failed = 0;
  const pending: Array<Promise<void>> = [];
  for (const end = performance.now() + ms; performance.now() < end; await delay(EVERY_MS)) {
    const began = performance.now();
    const asked = new Promise<void>((resolve) => {
      const request = get(
        { port, host: '127.0.0.1', localAddress: CALLER, agent, checkServerIdentity: () => undefined },
        (response) => {
          response.resume().once('end', () => {
            times.push(performance.now() - began);
            resolve();
          });
        },
      );
      request.once('error', () => {
        failed++;
        resolve();
      });
    });
    pending.push(asked);
  }
  await Promise.all(pending);
  return { times, failed };
}

function tell(what: string, { times, failed }: Seen, quiet: Seen): void {
  const p99 = percentile(times, 99);
  const cells = [
    median(times).toFixed(2),
    p99.toFixed(2),
    (p99 / percentile(quiet.times, 99)).toFixed(1),
    String(failed),
  ];
  const [p50 = '', worst = '', ratio = '', lost = ''] = cells.map((cell) => cell.padStart(7));
  process.stdout.write(
    `${what.padEnd(24)} p50 ${p50} ms  p99 ${worst} ms  ${ratio} x quiet  ${lost} failed of ${times.length}\n`,
  );
}

/** In a process of its own, as strangers are. */
function start(name: AttackName, port: number, directory: string) {
  const child: ChildProcess = fork(import.meta.filename, [name, String(port), directory], { stdio: 'inherit' });
  return {
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const over = once(child, 'exit');
      child.kill('SIGKILL');
      await over;
    },
  };
}

async function identity(directory: string) {
  const [cert, key, ca] = await Promise.all(
    ['cert.pem', 'key.pem', 'ca.pem'].map((name) => readFile(join(directory, name), 'utf8')),
  );
  return { cert: cert ?? '', key: key ?? '', ca: ca ?? '', serial: '' };
}
