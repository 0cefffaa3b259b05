import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../test/support/servers.ts';
import { firstLine, programPath } from '../programs.ts';
import type { Chain, ChainContext, Peer } from './peer.ts';

/** haproxy in mode tcp or http, one thread a process, sessions never resumed. */
export const haproxy: Peer = {
  name: 'haproxy',
  protocols: ['tcp', 'http'],
  version: () => firstLine('haproxy', ['-v']),
  async start({ directory, protocol, material, backendPort, start }: ChainContext): Promise<Chain> {
    const [serverPort, clientPort] = [await freePort(), await freePort()];
    const mtls = `ca-file ${material.ca} verify required ssl-min-ver TLSv1.3`;

    const run = async (name: string, port: number, bind: string, server: string) => {
      const file = join(directory, `${name}.cfg`);
      await writeFile(file, config(protocol, bind, server));
      return start({ command: programPath('haproxy'), args: ['-db', '-f', file], port });
    };
    return {
      port: clientPort,
      server: await run(
        'server',
        serverPort,
        `127.0.0.1:${serverPort} ssl crt ${material.server.combined} ${mtls} no-tls-tickets`,
        `127.0.0.1:${backendPort}`,
      ),
      client: await run(
        'client',
        clientPort,
        `127.0.0.1:${clientPort}`,
        `127.0.0.1:${serverPort} ssl crt ${material.client.combined} ${mtls} verifyhost ${material.serverName} sni str(${material.serverName}) no-ssl-reuse`,
      ),
    };
  },
};

const config = (protocol: string, bind: string, server: string) => `global
  nbthread 1
  maxconn 4096
  tune.ssl.cachesize 0
defaults
  mode ${protocol}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen relay
  bind ${bind}
  server next ${server}
`;
