import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../test/support/servers.ts';
import { type Backend, sha256 } from './backend.ts';
import { fetchBody } from './fetch.ts';
import type { Material } from './material.ts';
import type { Peer, Protocol } from './peers/peer.ts';
import { pssBytes } from './proc.ts';
import { startInto } from './process.ts';
import type { Pss } from './results.ts';

export interface ChainOptions {
  readonly peers: readonly Peer[];
  readonly protocol: Protocol;
  readonly backend: Backend;
  readonly material: Material;
  readonly directory: string;
}

/** Plaintext in on `port`, mTLS between two processes, plaintext out to the backend. */
export interface Chain {
  readonly peer: string;
  readonly port: number;
  readonly serverPid: number;
  readonly clientPid: number;
  readonly pssIdle: Pss;
}

export interface Chains extends AsyncDisposable {
  readonly chains: readonly Chain[];
  /** A sentence for each that did not start, or changed a byte. */
  readonly faults: readonly string[];
}

/** An idle sidecar collects what starting left behind, a moment after it listens. */
const SETTLE_MS = 500;

/** Starts the chain of every peer that knows the protocol, and checks that bytes pass through it unharmed. */
export async function startChains(options: ChainOptions): Promise<Chains> {
  const { peers, protocol, backend } = options;
  const faults: string[] = [];
  const attempt = async <T>(name: string, step: () => Promise<T>): Promise<T[]> => {
    try {
      return [await step()];
    } catch (error) {
      faults.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      return [];
    }
  };
  await using starting = new AsyncDisposableStack();
  const up: Omit<Chain, 'pssIdle'>[] = [];
  for (const peer of peers.filter(({ protocols }) => protocols.includes(protocol))) {
    up.push(...(await attempt(peer.name, () => startChain(peer, options, starting))));
  }
  await delay(SETTLE_MS);
  const idle = up.map((chain) => ({ ...chain, pssIdle: pssOf(chain) }));
  const chains: Chain[] = [];
  for (const chain of idle) {
    chains.push(
      ...(await attempt(chain.peer, async () => {
        await checkBytes(chain.port, backend);
        return chain;
      })),
    );
  }
  const started = starting.move();
  return { chains, faults, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

export function pssOf({ serverPid, clientPid }: Pick<Chain, 'serverPid' | 'clientPid'>): Pss {
  return { server: pssBytes(serverPid), client: pssBytes(clientPid) };
}

async function startChain(
  peer: Peer,
  { protocol, backend, material, directory }: ChainOptions,
  stack: AsyncDisposableStack,
): Promise<Omit<Chain, 'pssIdle'>> {
  const start = startInto(stack);
  const [serverPort, port] = [await freePort(), await freePort()];
  const end = async (side: 'server' | 'client', listen: number, target: number) => {
    const own = join(directory, peer.name, side);
    await mkdir(own, { recursive: true });
    return peer[side][side]({ directory: own, material, protocol, port: listen, target, start });
  };
  const { pid: serverPid } = await end('server', serverPort, backend.port);
  const { pid: clientPid } = await end('client', port, serverPort);
  return { peer: peer.name, port, serverPid, clientPid };
}

/** One answer of each kind, and several of the largest at once: a buffer used twice corrupts only under concurrent load. */
async function checkBytes(port: number, { files }: Backend): Promise<void> {
  const paths = [...files.keys(), ...Array.from({ length: 16 }, () => '/1m')];
  await Promise.all(
    paths.map(async (path) => {
      const found = sha256(await fetchBody(port, path));
      if (found !== files.get(path)?.sha256) throw new Error(`the bytes of ${path} were changed: SHA-256 is ${found}`);
    }),
  );
}
