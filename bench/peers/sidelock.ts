import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../test/support/servers.ts';
import type { Chain, ChainContext, Peer } from './peer.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

/** Two sidecars of the command line, each with its identity from a directory. */
export const sidelock: Peer = {
  name: 'sidelock',
  protocols: ['tcp', 'http'],
  version: () => 'this tree',
  async start({ directory, protocol, material, backendPort, start }: ChainContext): Promise<Chain> {
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
          ...listeners,
        }),
      );
      return start({
        command: process.execPath,
        args: ['--disable-sigusr1', MAIN, 'sidecar', `--config=${file}`],
        port,
      });
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
  },
};
