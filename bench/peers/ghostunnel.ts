import { freePort } from '../../test/support/servers.ts';
import { firstLine, programPath } from '../programs.ts';
import type { Chain, ChainContext, Peer } from './peer.ts';

/** ghostunnel, which reads no HTTP and stands beside it as TCP, with its access control by SPIFFE id on both sides. */
export const ghostunnel: Peer = {
  name: 'ghostunnel',
  protocols: ['tcp', 'http'],
  version: () => firstLine('ghostunnel', ['--version']),
  async start({ material, backendPort, start }: ChainContext): Promise<Chain> {
    const [serverPort, clientPort] = [await freePort(), await freePort()];
    const identity = ({ cert, key }: { cert: string; key: string }) => [
      `--cert=${cert}`,
      `--key=${key}`,
      `--cacert=${material.ca}`,
      '--quiet=all',
    ];
    const command = programPath('ghostunnel');
    return {
      port: clientPort,
      server: await start({
        command,
        args: [
          'server',
          `--listen=127.0.0.1:${serverPort}`,
          `--target=127.0.0.1:${backendPort}`,
          `--allow-uri=${material.client.spiffeId}`,
          ...identity(material.server),
        ],
        port: serverPort,
      }),
      client: await start({
        command,
        args: [
          'client',
          `--listen=127.0.0.1:${clientPort}`,
          `--target=127.0.0.1:${serverPort}`,
          `--override-server-name=${material.serverName}`,
          `--verify-uri=${material.server.spiffeId}`,
          ...identity(material.client),
        ],
        port: clientPort,
      }),
    };
  },
};
