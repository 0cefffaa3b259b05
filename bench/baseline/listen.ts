import { readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { BaselineOptions } from '../peers/node.ts';

export function readOptions(): BaselineOptions {
  return JSON.parse(process.argv[2] ?? '');
}

/** This end's certificate, and the root that the other end's must come from. */
export function identityOf({ ca, cert, key }: BaselineOptions) {
  return { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key), minVersion: 'TLSv1.3' } as const;
}

/** Plaintext at the client end, mTLS at the server end; never closes a kept connection. */
export function serve(options: BaselineOptions, listener: RequestListener): void {
  const timeouts = { keepAliveTimeout: 600_000, requestTimeout: 0 };
  const server =
    options.serverName === undefined
      ? createTlsServer({ ...timeouts, ...identityOf(options), requestCert: true, rejectUnauthorized: true }, listener)
      : createServer(timeouts, listener);
  server.listen(options.port, '127.0.0.1', 4096);
}
