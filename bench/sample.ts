import { setTimeout as delay } from 'node:timers/promises';
import type { Backend } from './backend.ts';
import { type Chain, pssOf } from './chains.ts';
import { type Cpu, cpuOf } from './proc.ts';
import type { Sample } from './results.ts';
import type { Work } from './scenarios.ts';
import type { Load } from './wrk.ts';

export interface SampleOptions {
  readonly backend: Backend;
  readonly load: Load;
  /** Length of the window. */
  readonly seconds: number;
}

/** The slowest of the peers that make a handshake for each connection opens about twice as many. */
const CONNECTIONS_A_SECOND = 128;

/** Requests a second with nothing between the load and the backend: what a proxy cannot exceed. */
export async function sampleDirect(work: Work, { backend, load, seconds }: SampleOptions): Promise<number> {
  const { requests } = await load({ ...work, port: backend.port, seconds });
  return requests / seconds;
}

/**
 * Loads one chain and looks at it through a window that opens when its connections are up: requests that reached the
 * backend and CPU of both ends are read at the two edges.
 */
export async function sample(chain: Chain, work: Work, { backend, load, seconds }: SampleOptions): Promise<Sample> {
  const ramp = Math.max(1, Math.ceil(work.connections / CONNECTIONS_A_SECOND));
  const window = seconds * work.patience;
  // wrk wants whole seconds. The window closes a little earlier, so that what ends the load is outside.
  const loaded = load({ ...work, port: chain.port, seconds: ramp + window });
  const read = async () => ({
    served: await backend.served(),
    server: cpuOf(chain.serverPid),
    client: cpuOf(chain.clientPid),
    at: performance.now(),
  });
  const edges = (async () => {
    await delay(ramp * 1_000);
    const opened = await read();
    await delay(window * 1_000 - 100);
    return { opened, closed: await read(), pss: pssOf(chain) };
  })();
  const [{ opened, closed, pss }, whole] = await Promise.all([edges, loaded]);
  const requests = closed.served - opened.served;
  const each = (end: 'server' | 'client', part: keyof Cpu) =>
    (closed[end][part] - opened[end][part]) / Math.max(1, requests);
  return {
    requests,
    bytes: requests * (backend.files.get(work.path)?.bytes ?? 0),
    seconds: (closed.at - opened.at) / 1_000,
    cpuServerUs: each('server', 'all'),
    cpuClientUs: each('client', 'all'),
    kernelServerUs: each('server', 'kernel'),
    kernelClientUs: each('client', 'kernel'),
    p50Us: whole.p50Us,
    p95Us: whole.p95Us,
    p99Us: whole.p99Us,
    answered: whole.requests,
    errors: whole.errors,
    pss,
  };
}
