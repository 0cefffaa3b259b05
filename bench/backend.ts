import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../test/support/servers.ts';
import { startNginx } from './peers/nginx.ts';
import type { Start } from './process.ts';

export interface Backend {
  readonly port: number;
  /** SHA-256 of what each path answers. */
  readonly sha256: Readonly<Record<'/small' | '/body', string>>;
}

const SMALL = Buffer.from('hello from behind the sidecar\n');
const BODY_BYTES = 1 << 20;

/** The plaintext app behind every chain: nginx, with a small answer and one of 1 MiB, that never closes a connection. */
export async function startBackend(start: Start, directory: string): Promise<Backend> {
  const port = await freePort();
  const files = join(directory, 'files');
  const body = randomBytes(BODY_BYTES);
  await mkdir(files, { recursive: true });
  await writeFile(join(files, 'body'), body);
  await writeFile(join(files, 'small'), SMALL);
  await startNginx(
    start,
    directory,
    port,
    '',
    `http {
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  open_file_cache max=10;
  sendfile on;
  tcp_nopush on;
  server { listen 127.0.0.1:${port} backlog=4096; root ${files}; }
}`,
  );
  return {
    port,
    sha256: { '/small': sha256(SMALL), '/body': sha256(body) },
  };
}

export function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}
