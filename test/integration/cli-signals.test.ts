import { mkdirSync, readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { MAIN, shortDirectory, startCli, startProgram } from '../support/cli.ts';

const QUICK = { MTLS_CA_KEY_SIZE: '2048' };

t.test('F28: SIGUSR1 opens no inspector, whatever flags node was started with', async (t) => {
  // What happens without us, so that the test is known to see it.
  const bare = startProgram(process.execPath, [
    '--inspect-port=0',
    '-e',
    'console.log("up"); setInterval(() => {}, 1000)',
  ]);
  t.teardown(() => bare.child.kill('SIGKILL'));
  await bare.saw(/up/);
  bare.child.kill('SIGUSR1');
  await bare.saw(/Debugger listening/);

  for (const node of [[], ['--disable-sigusr1']]) {
    const storage = join(shortDirectory(t), 'pki');
    const args = ['manager', '--storage', storage, '--listen', '127.0.0.1:0', '--health', '127.0.0.1:0'];
    const manager = startCli(args, { env: QUICK, node });
    t.teardown(() => manager.child.kill('SIGKILL'));
    await manager.saw(/manager ready/);
    manager.child.kill('SIGUSR1');
    manager.child.kill('SIGTERM');
    const { code, stderr } = await manager.ended;
    t.equal(code, 0, `lived on and ended well (${node.join(' ') || 'no flag'})`);
    t.notMatch(stderr, /Debugger listening/);
  }
});

t.test('F27: SIGTERM and SIGINT end a command that waits for an answer', async (t) => {
  const storage = shortDirectory(t);
  mkdirSync(join(storage, '.sidelock'));
  const asked = Promise.withResolvers<Socket>();
  const silent = createServer((socket) => socket.on('error', () => {}).once('data', () => asked.resolve(socket)));
  await new Promise<void>((resolve) => silent.listen(join(storage, '.sidelock/manager.sock'), resolve));
  t.teardown(() => silent.close());
  const waiting = startCli(['list', '--storage', storage]);
  t.teardown(() => waiting.child.kill('SIGKILL'));
  const socket = await asked.promise;
  waiting.child.kill('SIGTERM');
  t.match(await waiting.ended, { code: 143, stderr: '' });
  socket.destroy();
});

t.test('F27: as PID 1 of a container', async (t) => {
  const probe = await startProgram('unshare', ['--fork', '--pid', '--kill-child', 'true']).ended;
  if (probe.code !== 0) {
    t.comment('not tested: this machine lets nobody make a PID namespace');
    return;
  }
  const storage = join(shortDirectory(t), 'pki');
  const args = ['manager', '--storage', storage, '--listen', '127.0.0.1:0', '--health', '127.0.0.1:0'];
  const inside = startProgram('unshare', ['--fork', '--pid', '--kill-child', process.execPath, MAIN, ...args], {
    env: QUICK,
  });
  t.teardown(() => inside.child.kill('SIGKILL'));
  await inside.saw(/manager ready/);
  const { pid } = inside.child;
  process.kill(Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')), 'SIGTERM');
  t.match(await inside.ended, { code: 0, stderr: /"event":"stopping","signal":"SIGTERM"/ });
});
