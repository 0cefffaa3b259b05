import { join } from 'node:path';
import { freePort } from '../process.ts';
import type { Chain, ChainContext, Peer } from './peer.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

/** Two sidecars of the command line, each with its identity from a directory. */
export const sidelock: Peer = {
  name: 'sidelock',
  version: () => 'this tree',
  async start({ material, backendPort, start }: ChainContext): Promise<Chain> {
    const [serverPort, clientPort] = [await freePort(), await freePort()];
    const sidecar = (port: number, directory: string, flags: readonly string[]) =>
      start({
        command: process.execPath,
        args: ['--disable-sigusr1', MAIN, 'sidecar', `--identity=${directory}`, '--admin=127.0.0.1:0', ...flags],
        port,
      });
    return {
      port: clientPort,
      server: await sidecar(serverPort, material.server.directory, [
        `--inbound=127.0.0.1:${serverPort}:127.0.0.1:${backendPort}`,
        `--allow=${material.client.spiffeId}`,
      ]),
      client: await sidecar(clientPort, material.client.directory, [
        `--upstream=127.0.0.1:${clientPort}=${material.serverName}@127.0.0.1:${serverPort}`,
      ]),
    };
  },
};
