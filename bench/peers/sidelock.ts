import { join } from 'node:path';
import { freePort } from '../process.ts';
import type { Chain, ChainContext, Peer } from './peer.ts';

/** Two real sidecar processes, each with its identity from a directory. */
export const sidelock: Peer = {
  name: 'sidelock',
  version: () => 'this tree',
  async start({ material, backendPort, start }: ChainContext): Promise<Chain> {
    const [serverPort, clientPort] = [await freePort(), await freePort()];
    const run = (port: number, options: object) =>
      start({
        command: process.execPath,
        args: ['--disable-sigusr1', join(import.meta.dirname, '../sidelock-proxy.ts'), JSON.stringify(options)],
        port,
      });
    const local = (port: number) => ({ host: '127.0.0.1', port });
    return {
      port: clientPort,
      server: await run(serverPort, {
        directory: material.server.directory,
        inbound: [
          {
            name: 'app',
            listen: local(serverPort),
            target: local(backendPort),
            protocol: 'tcp',
            allow: [material.client.spiffeId],
          },
        ],
        outbound: [],
      }),
      client: await run(clientPort, {
        directory: material.client.directory,
        inbound: [],
        outbound: [
          {
            name: 'server',
            listen: local(clientPort),
            service: material.serverName,
            address: local(serverPort),
            expect: [material.server.spiffeId],
          },
        ],
      }),
    };
  },
};
