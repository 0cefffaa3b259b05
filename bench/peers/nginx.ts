import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../test/support/servers.ts';
import type { Running, Start } from '../process.ts';
import { firstLine, programPath } from '../programs.ts';
import type { Chain, ChainContext, Peer } from './peer.ts';

const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** nginx with its stream module, one process a side, sessions never resumed. */
export const nginx: Peer = {
  name: 'nginx',
  protocols: ['tcp'],
  version: () => firstLine('nginx', ['-v'], [STREAM_MODULE]),
  async start({ directory, material, backendPort, start }: ChainContext): Promise<Chain> {
    const [serverPort, clientPort] = [await freePort(), await freePort()];
    const server = `server {
    listen 127.0.0.1:${serverPort} ssl;
    proxy_pass 127.0.0.1:${backendPort};
    ssl_certificate ${material.server.cert};
    ssl_certificate_key ${material.server.key};
    ssl_client_certificate ${material.ca};
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_session_cache off;
    ssl_session_tickets off;
  }`;
    const client = `server {
    listen 127.0.0.1:${clientPort};
    proxy_pass 127.0.0.1:${serverPort};
    proxy_ssl on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_certificate ${material.client.cert};
    proxy_ssl_certificate_key ${material.client.key};
    proxy_ssl_trusted_certificate ${material.ca};
    proxy_ssl_verify on;
    proxy_ssl_name ${material.serverName};
    proxy_ssl_session_reuse off;
  }`;
    return {
      port: clientPort,
      server: await startNginx(
        start,
        join(directory, 'server'),
        serverPort,
        `load_module ${STREAM_MODULE};`,
        `stream { ${server} }`,
      ),
      client: await startNginx(
        start,
        join(directory, 'client'),
        clientPort,
        `load_module ${STREAM_MODULE};`,
        `stream { ${client} }`,
      ),
    };
  },
};

/** One process in the foreground, with \`blocks\` in its configuration and everything it writes under \`directory\`. */
export async function startNginx(
  start: Start,
  directory: string,
  port: number,
  head: string,
  blocks: string,
): Promise<Running> {
  await mkdir(directory, { recursive: true });
  const file = join(directory, 'nginx.conf');
  await writeFile(
    file,
    `${head}
daemon off;
master_process off;
pid ${join(directory, 'nginx.pid')};
error_log ${join(directory, 'error.log')} crit;
events { worker_connections 16384; }
${blocks}
`,
  );
  return start({ command: programPath('nginx'), args: ['-p', directory, '-c', file], port });
}
