import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { buildHelm } from './build.ts';
import { SIDECAR_IMAGE } from './sidecar-image.ts';
import { ADMIN_KUBECONFIG } from './state.ts';

const root = join(import.meta.dirname, '../..');
export const CHART = join(root, 'k8s/chart');

export async function helm(...args: readonly string[]) {
  const child = spawn(buildHelm(), args, {
    env: { ...process.env, KUBECONFIG: ADMIN_KUBECONFIG },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await closed, stdout, stderr };
}

/** The chart with the image of the tests. */
export function images(): string[] {
  const at = SIDECAR_IMAGE.lastIndexOf(':');
  return ['manager', 'webhook'].flatMap((one) => [
    '--set',
    `${one}.image.repository=${SIDECAR_IMAGE.slice(0, at)},${one}.image.tag=${SIDECAR_IMAGE.slice(at + 1)}`,
  ]);
}
