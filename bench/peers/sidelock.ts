import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../test/support/servers.ts';
import type { Chain, ChainContext, Peer } from './peer.ts';

const ROOT = join(import.meta.dirname, '../..');
const BUNDLE = join(ROOT, 'dist/bundle/main.js');
/** A young generation of V8's own size (up to 16 MiB a half) is most of what a loaded sidecar holds. */
const NODE_FLAGS = ['--disable-sigusr1', '--expose-gc', '--max-semi-space-size=2'];

/** Two sidecars of the bundle that the image ships, each with its identity from a directory. */
export const sidelock = variant('sidelock', { streams: 'on' });

/** The same as any other peer would meet them: a connection for each caller. */
export const sidelockOwn = variant('sidelock-own', { streams: 'off' });

/** Writes the bundle that both run. */
export async function buildBundle(): Promise<void> {
  await promisify(execFile)(process.execPath, ['docker/bundle.ts'], { cwd: ROOT });
}

function variant(name: string, settings: { readonly streams: 'on' | 'off' }): Peer {
  return {
    name,
    protocols: ['tcp', 'http'],
    version: () => 'this tree',
    start: (context) => startChain(context, settings),
  };
}

async function startChain(
  { directory, protocol, material, backendPort, start }: ChainContext,
  { streams }: { readonly streams: 'on' | 'off' },
): Promise<Chain> {
  const [serverPort, clientPort] = [await freePort(), await freePort()];
  const sidecar = async (name: string, port: number, identity: string, listeners: object) => {
    const file = join(directory, `${name}.yaml`);
    await writeFile(
      file,
      JSON.stringify({
        apiVersion: 'sidelock/v1',
        kind: 'Sidecar',
        identity: { source: 'files', directory: identity },
        admin: { listen: '127.0.0.1:0' },
        streams,
        ...listeners,
      }),
    );
    return start({ command: process.execPath, args: [...NODE_FLAGS, BUNDLE, 'sidecar', `--config=${file}`], port });
  };
  return {
    port: clientPort,
    server: await sidecar('server', serverPort, material.server.directory, {
      inbound: [
        {
          listen: `127.0.0.1:${serverPort}`,
          target: `127.0.0.1:${backendPort}`,
          protocol,
          allow: [material.client.spiffeId],
        },
      ],
    }),
    client: await sidecar('client', clientPort, material.client.directory, {
      outbound: [
        {
          listen: `127.0.0.1:${clientPort}`,
          service: material.serverName,
          address: `127.0.0.1:${serverPort}`,
          protocol,
        },
      ],
    }),
  };
}
