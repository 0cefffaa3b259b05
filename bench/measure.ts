import { mkdir } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { type Backend, sha256 } from './backend.ts';
import type { Material } from './material.ts';
import type { Chain, Peer } from './peers/peer.ts';
import { cpuMicroseconds, pssBytes } from './proc.ts';
import { startInto } from './process.ts';
import { programPath } from './programs.ts';
import type { Scenario } from './scenarios.ts';
import { median, spread } from './statistics.ts';
import { type Load, type LoadResult, wrk } from './wrk.ts';

/** Bytes of memory, shared pages in proportion. */
interface Pss {
  readonly server: number;
  readonly client: number;
}

/** Medians over the runs. CPU is microseconds a request; `cpuUs` is both proxies together. */
export interface Result {
  readonly peer: string;
  readonly requestsPerSecond: number;
  readonly megabytesPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly cpuUs: number;
  readonly cpuServerUs: number;
  readonly cpuClientUs: number;
  /** How far the runs' CPU figures lie apart, as a share of the median. */
  readonly cpuSpread: number;
  readonly pss: Pss;
  /** Before the first byte. */
  readonly pssIdle: Pss;
  readonly errors: number;
}

interface MeasureOptions {
  readonly scenario: Scenario;
  readonly peers: readonly Peer[];
  readonly backend: Backend;
  readonly material: Material;
  readonly directory: string;
  /** Path of wrk's report script. */
  readonly script: string;
  readonly runs: number;
  readonly seconds: number;
  readonly progress: (text: string) => void;
}

/**
 * Starts every peer's chain, checks that bytes pass through it unharmed, then loads one after the other, `runs` times
 * around, so that a slow moment of the machine meets all of them.
 */
export async function measure(options: MeasureOptions): Promise<Result[]> {
  const { scenario, peers, backend, runs, progress } = options;
  await using chains = new AsyncDisposableStack();
  const start = startInto(chains);
  const entries = [];
  for (const peer of peers.filter(({ protocols }) => protocols.includes(scenario.protocol))) {
    const directory = join(options.directory, scenario.name, peer.name);
    await mkdir(directory, { recursive: true });
    const chain = await peer.start({
      directory,
      protocol: scenario.protocol,
      material: options.material,
      backendPort: backend.port,
      start,
    });
    const idle = pssOf(chain);
    await checkBytes(peer.name, chain, backend);
    entries.push({ peer, chain, idle, samples: [] as Sample[] });
  }
  const load = { path: scenario.path, connections: scenario.connections, close: scenario.close };
  for (const { peer, chain } of entries) {
    progress(`${scenario.name}: warming ${peer.name}`);
    await loadOnce(options, { ...load, port: chain.port, seconds: 1 });
  }
  for (let run = 1; run <= runs; run++) {
    for (const { peer, chain, samples } of entries) {
      progress(`${scenario.name}: ${peer.name}, run ${run} of ${runs}`);
      samples.push(await sample(options, chain, { ...load, port: chain.port, seconds: options.seconds }));
    }
  }
  return entries.map(({ peer, idle, samples }) => summarise(peer.name, idle, samples));
}

interface Sample extends LoadResult {
  readonly cpuServerUs: number;
  readonly cpuClientUs: number;
  readonly pss: Pss;
}

async function sample(options: MeasureOptions, chain: Chain, load: Load): Promise<Sample> {
  const { server, client } = chain;
  const before = { server: cpuMicroseconds(server.pid), client: cpuMicroseconds(client.pid) };
  const result = await loadOnce(options, load);
  const requests = Math.max(1, result.requests);
  return {
    ...result,
    cpuServerUs: (cpuMicroseconds(server.pid) - before.server) / requests,
    cpuClientUs: (cpuMicroseconds(client.pid) - before.client) / requests,
    pss: pssOf(chain),
  };
}

function pssOf({ server, client }: Chain): Pss {
  return { server: pssBytes(server.pid), client: pssBytes(client.pid) };
}

function loadOnce({ script }: MeasureOptions, load: Load): Promise<LoadResult> {
  return wrk(programPath('wrk'), script, load);
}

function summarise(peer: string, pssIdle: Pss, samples: readonly Sample[]): Result {
  const middle = (figure: (sample: Sample) => number) => median(samples.map(figure));
  const cpu = (s: Sample) => s.cpuServerUs + s.cpuClientUs;
  return {
    peer,
    requestsPerSecond: middle((s) => s.requests / s.seconds),
    megabytesPerSecond: middle((s) => s.bytes / s.seconds / 1e6),
    p50Us: middle((s) => s.p50Us),
    p99Us: middle((s) => s.p99Us),
    cpuUs: middle(cpu),
    cpuServerUs: middle((s) => s.cpuServerUs),
    cpuClientUs: middle((s) => s.cpuClientUs),
    cpuSpread: spread(samples.map(cpu)),
    pss: { server: middle((s) => s.pss.server), client: middle((s) => s.pss.client) },
    pssIdle,
    errors: samples.reduce((sum, s) => sum + s.errors, 0),
  };
}

/** Several bodies at once, because a buffer used twice corrupts only under concurrent load. */
async function checkBytes(peer: string, { port }: Chain, backend: Backend): Promise<void> {
  const agent = new Agent({ keepAlive: false });
  const paths = ['/small', ...Array.from({ length: 16 }, () => '/body' as const)] as const;
  await Promise.all(
    paths.map(async (path) => {
      const found = sha256(await fetchBody(agent, port, path));
      if (found !== backend.sha256[path]) throw new Error(`${peer} changed the bytes of ${path}: SHA-256 is ${found}`);
    }),
  );
}

function fetchBody(agent: Agent, port: number, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const request = get({ agent, host: '127.0.0.1', port, path, timeout: 10_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error(`no answer on port ${port} within 10 s`)));
  });
}
