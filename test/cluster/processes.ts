import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { say } from './say.ts';
import { BRIDGE, GROUP, path } from './state.ts';

/** Starts a program that outlives this one; its log is in the state directory, its pid is remembered. */
export function start(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): void {
  const name = program.slice(program.lastIndexOf('/') + 1);
  const log = openSync(path(`${name}.log`), 'a');
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], env: { ...process.env, ...env } });
  if (child.pid === undefined) throw new Error(`cannot start ${program}`);
  child.unref();
  appendFileSync(path('pids'), `${child.pid} ${program}\n`);
}

/** Ends one program of the cluster, by its path. */
export async function stop(program: string): Promise<void> {
  for (const line of readFileSync(path('pids'), 'utf8').trim().split('\n')) {
    const [pid = ''] = line.split(' ');
    if (line.endsWith(` ${program}`) && runs(Number(pid), program)) await end(Number(pid), program);
  }
}

/** Asks until it is so. @throws Error with the end of the program's log */
export async function until(what: string, log: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (isSo()) return;
    await sleep(200);
  }
  throw new Error(`${what} did not happen within 2 minutes; ${path(log)} ends:\n${tail(path(log))}`);
}

/** Ends every program of the cluster and takes away what it left: containers, mounts, the bridge. Run it as often as you like. */
export async function stopAll(): Promise<void> {
  const recorded = existsSync(path('pids')) ? readFileSync(path('pids'), 'utf8').trim().split('\n').reverse() : [];
  for (const line of recorded) {
    const [pid = '', program = ''] = line.split(' ');
    if (runs(Number(pid), program)) await end(Number(pid), program);
  }
  // The shims of containers are children of nobody; their command line names our socket.
  for (const pid of pidsOf(path('containerd.sock'))) kill(pid, 'SIGKILL');
  for (const pid of pidsBelow(GROUP)) kill(pid, 'SIGKILL');
  for (let tries = 0; tries < 50 && mounts().length > 0; tries++) {
    for (const mount of mounts()) quietly('umount', ['-l', mount]);
  }
  removeGroups();
  quietly('ip', ['link', 'delete', BRIDGE]);
}

async function end(pid: number, program: string): Promise<void> {
  kill(pid, 'SIGTERM');
  for (let tries = 0; tries < 50; tries++) {
    if (!runs(pid, program)) return;
    await sleep(100);
  }
  say(`${program} does not end by itself`);
  kill(pid, 'SIGKILL');
}

/** By its program too: a pid may have gone to somebody else since. */
function runs(pid: number, program: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`).startsWith(program);
  } catch {
    return false;
  }
}

function pidsOf(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, 'utf8');
        return line.includes('containerd-shim') && line.includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function pidsBelow(group: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cgroup`, 'utf8').includes(`/${group}/`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Deepest first. */
function mounts(): string[] {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${path()}/`))
    .reverse();
}

/** Kubelet leaves its control groups behind; a group can be removed once it is empty. */
function removeGroups(): void {
  for (const hierarchy of readdirSync('/sys/fs/cgroup')) {
    const top = `/sys/fs/cgroup/${hierarchy}/${GROUP}`;
    if (!existsSync(top)) continue;
    const below = readdirSync(top, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `${entry.parentPath}/${entry.name}`)
      .sort()
      .reverse();
    for (const group of [...below, top]) {
      try {
        rmdirSync(group);
      } catch {
        // A process is still ending in it: the next stop removes it.
      }
    }
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself.
  }
}

function quietly(program: string, args: readonly string[]): void {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
  } catch {
    // What is gone cannot be taken away.
  }
}

function tail(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8').slice(-2_000) : 'nothing was written';
}
