import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { shortDirectory } from './cli.ts';
import { overwrite, spiffeIdOf, type TestAuthority, testAuthority } from './identity-files.ts';
import { startNode } from './mesh.ts';
import { findProgram, requireProgram } from './programs.ts';
import { freePort, startServer } from './servers.ts';

/** One way for bytes of `web` to reach an app of `orders` over mTLS. */
export interface Way {
  readonly name: string;
  /** The local port of `web` that leads to an app on `port`; undefined when a program it needs is missing. */
  start(t: Test, port: number): Promise<number | undefined>;
}

/** Through two of our sidecars, and through one with something else at the other end. */
export const WAYS: readonly Way[] = [
  { name: 'in streams', start: (t, port) => ours(t, port, true) },
  { name: 'without streams', start: (t, port) => ours(t, port, false) },
  {
    name: 'haproxy calls us',
    async start(t, port) {
      const haproxy = requireProgram(t, 'haproxy');
      return haproxy === undefined
        ? undefined
        : calls(t, port, (authority, to) => haproxyClient(t, haproxy, authority, to));
    },
  },
  {
    name: 'we call haproxy',
    async start(t, port) {
      const haproxy = requireProgram(t, 'haproxy');
      return haproxy === undefined ? undefined : called(t, (authority) => haproxyServer(t, haproxy, authority, port));
    },
  },
  // Debian has no package of it: where it is not installed there is nothing to say about it.
  ...optional('ghostunnel', (program) => [
    {
      name: 'ghostunnel calls us',
      start: (t, port) => calls(t, port, (authority, to) => ghostunnelClient(t, program, authority, to)),
    },
    {
      name: 'we call ghostunnel',
      start: (t, port) => called(t, (authority) => ghostunnelServer(t, program, authority, port)),
    },
  ]),
];

function optional(program: string, ways: (path: string) => Way[]): Way[] {
  const path = findProgram(program);
  return path === undefined ? [] : ways(path);
}

async function ours(t: Test, port: number, streams: boolean): Promise<number> {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port };
  const orders = await startNode(t, { service: 'orders', authority, inbound: { target, allow: ['web'] }, streams });
  const outbound = { service: 'orders', address: orders.mtls };
  return (await startNode(t, { service: 'web', authority, outbound, streams })).local.port;
}

/** `client` starts what calls our inbound, and returns its local port. */
async function calls(
  t: Test,
  port: number,
  client: (authority: TestAuthority, to: number) => Promise<number>,
): Promise<number> {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port };
  const orders = await startNode(t, { service: 'orders', authority, inbound: { target, allow: ['web'] } });
  return client(authority, orders.mtls.port);
}

/** `server` starts what our outbound calls, and returns its mTLS port. */
async function called(t: Test, server: (authority: TestAuthority) => Promise<number>): Promise<number> {
  const authority = testAuthority();
  const address = { host: '127.0.0.1', port: await server(authority) };
  return (await startNode(t, { service: 'web', authority, outbound: { service: 'orders', address } })).local.port;
}

/** cert.pem, key.pem, ca.pem, and the first two in one file. */
async function filesOf(t: Test, authority: TestAuthority, service: string) {
  const directory = shortDirectory(t);
  const trio = authority.issue(service);
  await overwrite(directory, trio);
  const combined = join(directory, 'combined.pem');
  await writeFile(combined, trio.cert + trio.key, { mode: 0o600 });
  const [cert, key, ca] = ['cert.pem', 'key.pem', 'ca.pem'].map((name) => join(directory, name));
  return { directory, cert, key, ca, combined };
}

const NAME = 'orders.ai-teddy.local';

async function haproxyClient(t: Test, program: string, authority: TestAuthority, to: number): Promise<number> {
  const { ca, combined } = await filesOf(t, authority, 'web');
  const check = `ca-file ${ca} verify required verifyhost ${NAME} sni str(${NAME})`;
  return startHaproxy(t, program, (port) => [
    `bind 127.0.0.1:${port}`,
    `server next 127.0.0.1:${to} ssl crt ${combined} ${check}`,
  ]);
}

async function haproxyServer(t: Test, program: string, authority: TestAuthority, app: number): Promise<number> {
  const { ca, combined } = await filesOf(t, authority, 'orders');
  return startHaproxy(t, program, (port) => [
    `bind 127.0.0.1:${port} ssl crt ${combined} ca-file ${ca} verify required ssl-min-ver TLSv1.3`,
    `server next 127.0.0.1:${app}`,
  ]);
}

async function startHaproxy(t: Test, program: string, relay: (port: number) => string[]): Promise<number> {
  const port = await freePort();
  const file = join(shortDirectory(t), 'haproxy.cfg');
  const defaults = ['defaults', 'mode tcp', 'timeout connect 5s', 'timeout client 60s', 'timeout server 60s'];
  await writeFile(file, [...defaults, 'listen relay', ...relay(port), ''].join('\n'));
  await startServer(t, program, ['-db', '-f', file], port);
  return port;
}

async function ghostunnelClient(t: Test, program: string, authority: TestAuthority, to: number): Promise<number> {
  return startGhostunnel(t, program, authority, 'web', (port) => [
    'client',
    `--listen=127.0.0.1:${port}`,
    `--target=127.0.0.1:${to}`,
    `--override-server-name=${NAME}`,
    `--verify-uri=${spiffeIdOf('orders')}`,
  ]);
}

async function ghostunnelServer(t: Test, program: string, authority: TestAuthority, app: number): Promise<number> {
  return startGhostunnel(t, program, authority, 'orders', (port) => [
    'server',
    `--listen=127.0.0.1:${port}`,
    `--target=127.0.0.1:${app}`,
    `--allow-uri=${spiffeIdOf('web')}`,
  ]);
}

async function startGhostunnel(
  t: Test,
  program: string,
  authority: TestAuthority,
  service: string,
  flags: (port: number) => string[],
): Promise<number> {
  const port = await freePort();
  const { cert, key, ca } = await filesOf(t, authority, service);
  const identity = [`--cert=${cert}`, `--key=${key}`, `--cacert=${ca}`, '--quiet=all'];
  await startServer(t, program, [...flags(port), ...identity], port);
  return port;
}
