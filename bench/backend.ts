import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../test/support/servers.ts';
import { fetchBody } from './fetch.ts';
import { startNginx } from './peers/nginx.ts';
import type { Start } from './process.ts';

export interface Backend {
  readonly port: number;
  /** What each path answers. */
  readonly files: ReadonlyMap<string, { readonly bytes: number; readonly sha256: string }>;
  /** Requests it has answered so far. */
  served(): Promise<number>;
}

const SMALL = Buffer.from('hello from behind the sidecar\n');
const KIBIBYTES = [1, 2, 4, 8, 16, 32, 64] as const;
/** `/1k` to `/64k`: bodies of as many KiB. */
export const BODY_PATHS: readonly string[] = KIBIBYTES.map((n) => `/${n}k`);

/** The plaintext app behind every chain: nginx with answers of some sizes, which never closes a connection. */
export async function startBackend(start: Start, directory: string): Promise<Backend> {
  const port = await freePort();
  const root = join(directory, 'files');
  await mkdir(root, { recursive: true });
  const bodies = [
    ['/small', SMALL] as const,
    ...KIBIBYTES.map((n) => [`/${n}k`, randomBytes(n * 1024)] as const),
    ['/1m', randomBytes(1 << 20)] as const,
  ];
  for (const [path, body] of bodies) await writeFile(join(root, path), body);
  await startNginx({
    start,
    directory,
    port,
    blocks: `http {
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  open_file_cache max=20;
  sendfile on;
  tcp_nopush on;
  server { listen 127.0.0.1:${port} backlog=4096; root ${root}; location = /served { stub_status; } }
}`,
  });
  let asked = 0;
  return {
    port,
    files: new Map(bodies.map(([path, body]) => [path, { bytes: body.length, sha256: sha256(body) }])),
    async served() {
      asked++;
      return parseServed((await fetchBody(port, '/served')).toString()) - asked;
    },
  };
}

/** The requests of nginx's stub_status, the one that asked among them. */
export function parseServed(status: string): number {
  const requests = Number(/^ \d+ \d+ (\d+) $/m.exec(status)?.[1]);
  if (!Number.isInteger(requests)) throw new TypeError('not a stub_status of nginx');
  return requests;
}

export function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}
