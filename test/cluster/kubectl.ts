import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ADMIN_KUBECONFIG, path } from './state.ts';

/** Directory with the programs of the cluster that runs. */
export function programs(): string {
  return readFileSync(path('programs'), 'utf8');
}

/** Runs kubectl as the cluster's administrator. @throws Error with what it said on standard error */
export async function kubectl(args: readonly string[], stdin = ''): Promise<string> {
  const { code, stdout, stderr } = await tryKubectl(args, stdin);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}:\n${stderr}`);
  return stdout;
}

export async function tryKubectl(args: readonly string[], stdin = '') {
  const child = spawn(join(programs(), 'kubectl'), [`--kubeconfig=${ADMIN_KUBECONFIG}`, ...args]);
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const closed = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await closed, stdout, stderr };
}
