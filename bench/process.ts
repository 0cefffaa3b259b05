import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as netConnect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface Running {
  readonly pid: number;
}

/** Starts a program, waits until it listens, and stops it with what the function was made for. */
export type Start = (options: StartOptions) => Promise<Running>;

interface StartOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Ready when this loopback port takes a connection. */
  readonly port: number;
  /** Besides PATH. */
  readonly env?: Readonly<Record<string, string>>;
}

const READY_MS = 15_000;
const POLL_MS = 5;
const living = new Set<ChildProcess>();
// An interrupted bench has no time to dispose of anything, and must leave nothing behind.
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** Programs started by the result end with `stack`. Their output is shown only when they do not come to listen. */
export function startInto(stack: AsyncDisposableStack): Start {
  return (options) => start(options, stack);
}

async function start({ command, args, port, env }: StartOptions, stack: AsyncDisposableStack): Promise<Running> {
  // No variable of this shell shall make one peer behave in its own way.
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], ...env } });
  living.add(child);
  child.once('exit', () => living.delete(child));
  stack.defer(() => stop(child));
  let output = '';
  const keep = (chunk: Buffer) => {
    if (output.length < 10_000) output += chunk.toString();
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.on('error', (error) => keep(Buffer.from(error.message)));

  const deadline = performance.now() + READY_MS;
  while (!(await accepts(port))) {
    if (child.exitCode !== null || child.pid === undefined || performance.now() > deadline) {
      throw new Error(`${command} does not listen on port ${port}:\n${output}`);
    }
    await delay(POLL_MS);
  }
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} has no process id`);
  return { pid };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = netConnect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 2_000);
  await ended;
  clearTimeout(timer);
}
