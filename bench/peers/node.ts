import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { EndContext, Program } from './peer.ts';

/** What a baseline is told on its command line, as JSON. */
export interface BaselineOptions {
  readonly port: number;
  readonly target: number;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Which name the other end must have; absent at the end that takes mTLS. */
  readonly serverName?: string;
}

/** The usual Node proxy: `http-proxy` over https with a client certificate, connections kept. */
export const httpProxy = baseline('http-proxy');

/** `http.createServer` with undici behind it. */
export const undici = baseline('undici');

function baseline(name: string): Program {
  const start = ({ port, target, material, start }: EndContext, side: 'server' | 'client') => {
    const { cert, key } = material[side];
    const options: BaselineOptions = {
      port,
      target,
      ca: material.ca,
      cert,
      key,
      ...(side === 'client' ? { serverName: material.serverName } : {}),
    };
    const file = join(import.meta.dirname, `../baseline/${name}.ts`);
    return start({ command: process.execPath, args: ['--no-deprecation', file, JSON.stringify(options)], port });
  };
  return {
    version: () => createRequire(import.meta.url)(`${name}/package.json`).version,
    server: (context) => start(context, 'server'),
    client: (context) => start(context, 'client'),
  };
}
