import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Running, Start } from '../process.ts';
import { programPath, programVersion } from '../programs.ts';
import type { EndContext, Program, Protocol } from './peer.ts';

const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** nginx, its stream module or HTTP with warm connections, one process a side, sessions never resumed. */
export const nginx: Program = {
  version: () => programVersion('nginx', ['-v'], [STREAM_MODULE]),
  server: (context) => {
    const { cert, key } = context.material.server;
    return relay(
      context,
      `listen 127.0.0.1:${context.port} ssl backlog=4096;
    ssl_certificate ${cert};
    ssl_certificate_key ${key};
    ssl_client_certificate ${context.material.ca};
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_session_cache off;
    ssl_session_tickets off;`,
      '',
    );
  },
  client: (context) => {
    const { material, port } = context;
    return relay(
      context,
      `listen 127.0.0.1:${port} backlog=4096;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_certificate ${material.client.cert};
    proxy_ssl_certificate_key ${material.client.key};
    proxy_ssl_trusted_certificate ${material.ca};
    proxy_ssl_verify on;
    proxy_ssl_name ${material.serverName};
    proxy_ssl_session_reuse off;`,
      material.serverName,
    );
  },
};

/** `tlsName` is whom the other end must be; empty where it is the plaintext backend. */
function relay({ protocol, directory, start, port, target }: EndContext, server: string, tlsName: string) {
  const tls = tlsName !== '';
  const pass: Record<Protocol, string> = {
    tcp: `proxy_pass 127.0.0.1:${target}; ${tls ? 'proxy_ssl on;' : ''}`,
    http: `keepalive_requests 100000000;
    location / { proxy_pass http${tls ? 's' : ''}://next; proxy_http_version 1.1; proxy_set_header Connection ''; }`,
  };
  const blocks: Record<Protocol, string> = {
    tcp: `stream { server { ${server} ${pass.tcp} } }`,
    http: `http {
  access_log off;
  upstream next { server 127.0.0.1:${target}; keepalive 300; keepalive_requests 100000000; }
  server { ${server} ${pass.http} }
}`,
  };
  const head = protocol === 'tcp' ? `load_module ${STREAM_MODULE};` : '';
  return startNginx({ start, directory, port, head, blocks: blocks[protocol] });
}

interface NginxOptions {
  readonly start: Start;
  readonly directory: string;
  readonly port: number;
  readonly head?: string;
  readonly blocks: string;
}

/** One process in the foreground, with `blocks` in its configuration and everything it writes under `directory`. */
export async function startNginx({ start, directory, port, head = '', blocks }: NginxOptions): Promise<Running> {
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
