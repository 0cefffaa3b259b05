import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
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

/** Starts the chain of every peer that knows the protocol, and checks that bytes pass through it unharmed. */
export async function startChains(options: ChainOptions): Promise<Chains> {
  const chains: Chain[] = [];
  const faults: string[] = [];
  await using starting = new AsyncDisposableStack();
  for (const peer of options.peers.filter(({ protocols }) => protocols.includes(options.protocol))) {
    try {
      const chain = await startChain(peer, options, starting);
      await checkBytes(chain.port, options.backend);
      chains.push(chain);
    } catch (error) {
      faults.push(`${peer.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
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
): Promise<Chain> {
  const start = startInto(stack);
  const [serverPort, port] = [await freePort(), await freePort()];
  const end = async (side: 'server' | 'client', listen: number, target: number) => {
    const own = join(directory, peer.name, side);
    await mkdir(own, { recursive: true });
    return peer[side][side]({ directory: own, material, protocol, port: listen, target, start });
  };
  const { pid: serverPid } = await end('server', serverPort, backend.port);
  const { pid: clientPid } = await end('client', port, serverPort);
  return { peer: peer.name, port, serverPid, clientPid, pssIdle: pssOf({ serverPid, clientPid }) };
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
