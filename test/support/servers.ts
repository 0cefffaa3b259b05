import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Test } from 'tap';

export const run = promisify(execFile);

/** A port that was free a moment ago, for programs that cannot be told "any port". */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new TypeError('a TCP port was expected');
  return address.port;
}

/** Where Debian puts PostgreSQL's server programs; they are not on the PATH. */
export async function postgresDirectories(): Promise<string[]> {
  const base = '/usr/lib/postgresql';
  const versions = await readdir(base).catch(() => []);
  return versions.map((version) => join(base, version, 'bin'));
}

/** A PostgreSQL with password-less user `app`, on loopback, until the end of the test. */
export async function startPostgres(t: Test, postgres: string): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-postgres-'));
  const port = await freePort();
  const user = await unprivilegedUser();
  if (user !== undefined) await chown(directory, user.uid, user.gid);
  const initdb = join(postgres, '..', 'initdb');
  await run(initdb, ['-D', directory, '-U', 'app', '--auth=trust', '--no-sync'], { ...user });
  const flags = ['-D', directory, '-p', String(port), '-h', '127.0.0.1', '-k', '', '-c', 'fsync=off'];
  const child = spawn(postgres, flags, { stdio: 'ignore', ...user });
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  stopAtEnd(t, child, 'SIGINT');
  // It opens the port while it still refuses sessions, so ask for one.
  await answers(() => run('psql', ['-h', '127.0.0.1', '-p', String(port), '-U', 'app', '-c', 'select 1', 'postgres']));
  return port;
}

export async function startRedis(t: Test, redis: string): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-redis-'));
  const port = await freePort();
  await startServer(t, redis, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory], port);
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return port;
}

/** A MariaDB whose `root` has no password, on loopback, until the end of the test. */
export async function startMariadb(t: Test, mariadbd: string): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-mariadb-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const port = await freePort();
  const data = `--datadir=${join(directory, 'data')}`;
  // It refuses to run as root unless that is said.
  const common = ['--no-defaults', data, ...(process.getuid?.() === 0 ? ['--user=root'] : [])];
  await run('mariadb-install-db', [...common, '--auth-root-authentication-method=normal', '--skip-test-db']);
  const where = [`--port=${port}`, '--bind-address=127.0.0.1', `--socket=${join(directory, 's')}`];
  await startServer(t, mariadbd, [...common, ...where, '--innodb-flush-log-at-trx-commit=0'], port);
  return port;
}

/** A program until the end of the test, once its loopback port takes connections. */
export async function startServer(
  t: Test,
  program: string,
  args: readonly string[],
  port: number,
): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let told = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    told += text;
  });
  stopAtEnd(t, child, 'SIGTERM');
  await answers(async () => {
    const socket = connect({ port, host: '127.0.0.1' });
    await once(socket, 'connect');
    socket.destroy();
  }, child);
  if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}:\n${told}`);
  return child;
}

function stopAtEnd(t: Test, child: ChildProcess, signal: NodeJS.Signals): void {
  t.teardown(async () => {
    const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
    child.kill(signal);
    await exited;
  });
}

async function answers(question: () => Promise<unknown>, child?: ChildProcess): Promise<void> {
  while (child === undefined || child.exitCode === null) {
    try {
      await question();
      return;
    } catch {
      await delay(20);
    }
  }
}

/** PostgreSQL refuses to run as root; Debian makes a user for it. */
async function unprivilegedUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((text) => text.startsWith('postgres:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) throw new Error('there is no user postgres: run test/setup.sh');
  await chmod(tmpdir(), 0o1777);
  return { uid: Number(uid), gid: Number(gid) };
}
