import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import t from 'tap';
import { type TestAuthority, testAuthority } from '../support/identity-files.ts';
import { readAll, startApp, startNode } from '../support/mesh.ts';
import { requireProgram } from '../support/programs.ts';

const STREAMS = 1000;
const BYTES = 1 << 20;
const PARALLEL = 64;
const SOURCE = join(import.meta.dirname, '../interop/yamux');
const run = promisify(execFile);

t.test('github.com/hashicorp/yamux over mTLS, in both roles', async (t) => {
  const go = requireProgram(t, 'go');
  if (go === undefined) return;
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-yamux-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const peer = join(directory, 'peer');
  await run(go, ['build', '-o', peer, '.'], { cwd: SOURCE });
  const authority = testAuthority();

  await t.test(`it calls: ${STREAMS} streams with ${BYTES} bytes each way`, async (t) => {
    const app = await startApp(t, (socket) => {
      void readAll(socket).then((body) => {
        socket.write(body);
        socket.end(createHash('sha256').update(body).digest());
      });
    });
    const target = { host: '127.0.0.1', port: app };
    const orders = await startNode(t, { service: 'orders', authority, inbound: { target, allow: ['web'] } });
    const files = await credentials(directory, authority, 'web');
    const address = `127.0.0.1:${orders.mtls.port}`;
    const { stdout } = await run(peer, ['call', ...files, address, String(STREAMS), String(BYTES)]);
    t.equal(stdout, `${STREAMS} streams of ${BYTES} bytes each way, SHA-256 right\n`);
    t.equal(await orders.metric('sidelock_handshakes_total'), 1, 'over one connection');
    t.equal(await orders.metric('sidelock_connections_total'), STREAMS);
    t.same(orders.events('link_broke'), []);
  });

  await t.test(`it serves: ${STREAMS} streams with ${BYTES} bytes each way`, async (t) => {
    const server = spawn(peer, ['serve', ...(await credentials(directory, authority, 'orders'))], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => stop(server));
    const [port] = await once(createInterface(server.stdout), 'line');
    const web = await startNode(t, {
      service: 'web',
      authority,
      outbound: { service: 'orders', address: { host: '127.0.0.1', port: Number(port) } },
    });
    let left = STREAMS;
    const wrong: string[] = [];
    const caller = async () => {
      while (left-- > 0) {
        const fault = await exchange(web.local.port);
        if (fault !== undefined) wrong.push(fault);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, caller));
    t.same(wrong, []);
    t.equal(await web.metric('sidelock_handshakes_total'), 1, 'over one connection');
    t.equal(await web.metric('sidelock_connections_total'), STREAMS);
    t.same(web.events('link_broke'), []);
  });
});

/** Sends a body whose first byte decides whether the answer comes meanwhile or after its end; says what was wrong. */
async function exchange(port: number): Promise<string | undefined> {
  const body = randomBytes(BYTES);
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(body);
  const back = await readAll(socket);
  const sum = createHash('sha256').update(body).digest();
  if (back.length !== BYTES + sum.length) return `${back.length} bytes came back`;
  if (!back.subarray(0, BYTES).equals(body)) return 'other bytes came back';
  return back.subarray(BYTES).equals(sum) ? undefined : 'other bytes arrived';
}

/** CERT KEY CA, as files. */
async function credentials(directory: string, authority: TestAuthority, service: string): Promise<string[]> {
  const trio = authority.issue(service);
  const parts = ['cert', 'key', 'ca'] as const;
  return Promise.all(
    parts.map(async (part) => {
      const file = join(directory, `${service}.${part}`);
      await writeFile(file, trio[part], { mode: 0o600 });
      return file;
    }),
  );
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill();
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
