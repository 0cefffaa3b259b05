import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Protocol } from '../../src/sidecar/options.ts';
import { shortDirectory, startCli } from './cli.ts';
import { swap, type TestAuthority } from './identity-files.ts';
import { readAll, startApp, startNode } from './mesh.ts';
import { freePort } from './servers.ts';

/** What an app says of itself; `status` is that of its HTTP answers. */
export interface Told {
  readonly name: string;
  status: number;
  served: number;
}

/** An app that answers each HTTP request with its name. */
export async function startNamedApp(t: Test, name: string): Promise<Told & { readonly port: number }> {
  const told = { name, status: 200, served: 0 };
  const server = createServer((_request, response) => {
    told.served++;
    response.writeHead(told.status).end(name);
  });
  const port = await startApp(t, (socket) => void server.emit('connection', socket));
  return Object.assign(told, { port });
}

/** An app that says its name and leaves, as `count` of them with a sidecar of `orders` each. */
export async function startThree(
  t: Test,
  authority: TestAuthority,
  protocol: Protocol,
  options: { readonly streams?: boolean; readonly hosts?: readonly string[]; readonly port?: number } = {},
) {
  return await Promise.all(
    ['a', 'b', 'c'].map(async (name, i) => {
      const app = await startNamedApp(t, name);
      const port = protocol === 'http' ? app.port : await startApp(t, (socket) => socket.end(name));
      const node = await startNode(t, {
        service: 'orders',
        authority,
        protocol,
        ...(options.streams === undefined ? {} : { streams: options.streams }),
        inbound: {
          target: { host: '127.0.0.1', port },
          allow: ['web'],
          ...(options.hosts === undefined ? {} : { listen: { host: options.hosts[i] ?? '', port: options.port ?? 0 } }),
        },
      });
      return { app, node };
    }),
  );
}

/** A sidecar of `orders` in a process of its own, that can be killed and started again on the same port. */
export async function startKillable(t: Test, authority: TestAuthority, app: number) {
  const directory = shortDirectory(t);
  const port = await freePort();
  await swap(join(directory, 'id'), authority.issue('orders'));
  const file = join(directory, 'orders.yaml');
  await writeFile(
    file,
    JSON.stringify({
      kind: 'Sidecar',
      service: 'orders',
      identity: { source: 'files', directory: join(directory, 'id') },
      inbound: [{ listen: `127.0.0.1:${port}`, target: `127.0.0.1:${app}`, protocol: 'http', allow: ['web'] }],
    }),
  );
  let running: ReturnType<typeof startCli> | undefined;
  const kill = async () => {
    running?.child.kill('SIGKILL');
    await running?.ended;
  };
  const start = async () => {
    running = startCli(['sidecar', '--config', file]);
    await running.saw(/sidecar ready/);
  };
  t.teardown(kill);
  await start();
  return { address: { host: '127.0.0.1', port }, kill, start };
}

/** What one TCP connection through the sidecar is told, or the code of its error. */
export async function ask(port: number): Promise<string> {
  try {
    return String(await readAll(connect({ port, host: '127.0.0.1' })));
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'error';
  }
}
