import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../test/support/servers.ts';
import { fetchBody } from './fetch.ts';
import type { Material } from './material.ts';
import { inbound, startSidecar } from './peers/sidelock.ts';
import { startInto } from './process.ts';

const LONGEST_MS = 15_000;

/** Milliseconds from the start of a sidecar's process to the first 200 of its `/readyz`, its identity on disk. */
export async function readyAfterStart(material: Material, directory: string): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const [admin, port, target] = [await freePort(), await freePort(), await freePort()];
  const begun = performance.now();
  await startSidecar({
    directory,
    identity: material.server,
    settings: { admin: { listen: `127.0.0.1:${admin}` }, ...inbound({ material, protocol: 'http', port, target }) },
    port: admin,
    start: startInto(stack),
  });
  while (!(await isReady(admin))) {
    if (performance.now() - begun > LONGEST_MS) throw new Error('a sidecar with its identity on disk is not ready');
    await delay(1);
  }
  return performance.now() - begun;
}

async function isReady(admin: number): Promise<boolean> {
  try {
    await fetchBody(admin, '/readyz');
    return true;
  } catch {
    return false;
  }
}
