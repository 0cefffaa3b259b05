import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Material } from '../material.ts';
import type { Running } from '../process.ts';
import { programPath, programVersion } from '../programs.ts';
import type { EndContext, Program } from './peer.ts';

/** haproxy in mode tcp or http, one thread a process, sessions never resumed. */
export const haproxy = speaking('');

/** The same with HTTP/2 between its two ends. */
export const haproxyH2 = speaking('alpn h2');

function speaking(alpn: string): Program {
  return {
    version: () => programVersion('haproxy', ['-v']),
    server: (context) => {
      const { material, port, target } = context;
      return run(
        context,
        `127.0.0.1:${port} ssl crt ${material.server.combined} ${mtls(material)} no-tls-tickets ${alpn}`,
        `127.0.0.1:${target}`,
      );
    },
    client: (context) => {
      const { material, port, target } = context;
      const name = material.serverName;
      return run(
        context,
        `127.0.0.1:${port}`,
        `127.0.0.1:${target} ssl crt ${material.client.combined} ${mtls(material)} verifyhost ${name} sni str(${name}) no-ssl-reuse ${alpn}`,
      );
    },
  };
}

function mtls({ ca }: Material): string {
  return `ca-file ${ca} verify required ssl-min-ver TLSv1.3`;
}

async function run({ directory, protocol, port, start }: EndContext, bind: string, server: string): Promise<Running> {
  const file = join(directory, 'haproxy.cfg');
  await writeFile(
    file,
    `global
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
`,
  );
  return start({ command: programPath('haproxy'), args: ['-db', '-f', file], port });
}
