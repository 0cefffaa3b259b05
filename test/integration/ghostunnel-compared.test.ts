import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { shortDirectory } from '../support/cli.ts';
import { overwrite, spiffeIdOf, type Trio, testAuthority } from '../support/identity-files.ts';
import { echo, startApp } from '../support/mesh.ts';
import { findProgram } from '../support/programs.ts';
import { freePort, run, startServer } from '../support/servers.ts';

const NAME = 'orders.ai-teddy.local';

// Debian has no package of it: where it is not installed there is nothing to say about it.
const program = findProgram('ghostunnel');
if (program === undefined) t.pass('no ghostunnel here');
else compare(program);

function compare(ghostunnel: string): void {
  t.test('a signal brings a new leaf and a new bundle, and open connections stay', async (t) => {
    const authority = testAuthority();
    const other = testAuthority('another root');
    const server = await startInbound(t, authority.issue('orders'), await startApp(t, echo));
    const open = await call(server.port, authority.issue('web'));
    t.equal(await asked(open, 'first'), 'first');

    const renewed = authority.issue('orders');
    await overwrite(server.directory, renewed);
    server.child.kill('SIGHUP');
    const web = authority.issue('web');
    while ((await serialShown(server.port, web)) !== renewed.serial.toUpperCase());
    t.equal(await asked(open, 'second'), 'second');

    const replaced = other.issue('orders');
    await overwrite(server.directory, replaced);
    server.child.kill('SIGHUP');
    const trusted = other.issue('web');
    while ((await heard(await call(server.port, trusted), 'new')) === '');
    t.equal(await heard(await call(server.port, { ...web, ca: replaced.ca }), 'new'), '', 'its root is gone');
    t.equal(await asked(open, 'third'), 'third', 'who is open stays, though its root is gone');
    open.destroy();
    const flags = await flagsOf(ghostunnel);
    t.notMatch(flags, /crl|ocsp|revo/);
  });

  t.test('bytes pass as they are: no identity for the app, no answer to PostgreSQL', async (t) => {
    const authority = testAuthority();
    const server = await startInbound(t, authority.issue('orders'), await startApp(t, echo));
    const port = await startOutbound(t, authority.issue('web'), server.port);
    for (const text of ['GET /x HTTP/1.1\r\nHost: a\r\n\r\n', Buffer.from('0000000804d2162f', 'hex')]) {
      const socket = connect(port, '127.0.0.1');
      t.equal(await asked(socket, text), String(text));
      socket.destroy();
    }
  });

  t.test('plaintext is refused, a wrong server gets nothing, the refused are told nothing', async (t) => {
    const authority = testAuthority();
    let reached = 0;
    const app = await startApp(t, (socket) => {
      reached++;
      echo(socket);
    });
    const server = await startInbound(t, authority.issue('orders'), app);
    t.notMatch(await heard(connect(server.port, '127.0.0.1'), 'plain text'), 'plain text');
    for (const [identity, to] of [
      [authority.issue('stranger'), server.port],
      [authority.issue('web'), app],
      [testAuthority('another root').issue('web'), server.port],
    ] as const) {
      const before = reached;
      const port = await startOutbound(t, identity, to);
      t.equal(await heard(connect(port, '127.0.0.1'), 'secret'), '');
      if (to === server.port) t.equal(reached, before);
    }
  });

  t.test('no flag for permissive mode, for rules tried first, or for rules by method and path', async (t) => {
    const flags = await flagsOf(ghostunnel);
    t.match(flags, '--allow-uri');
    t.notMatch(flags, /permissive|plaintext|audit|suggest|dry|method|path|route/);
  });

  async function startInbound(t: Test, trio: Trio, app: number) {
    return start(t, trio, (port) => [
      'server',
      `--listen=127.0.0.1:${port}`,
      `--target=127.0.0.1:${app}`,
      `--allow-uri=${spiffeIdOf('web')}`,
    ]);
  }

  async function startOutbound(t: Test, trio: Trio, to: number): Promise<number> {
    const { port } = await start(t, trio, (port) => [
      'client',
      `--listen=127.0.0.1:${port}`,
      `--target=127.0.0.1:${to}`,
      `--override-server-name=${NAME}`,
      `--verify-uri=${spiffeIdOf('orders')}`,
    ]);
    return port;
  }

  async function start(t: Test, trio: Trio, flags: (port: number) => string[]) {
    const directory = shortDirectory(t);
    await overwrite(directory, trio);
    const port = await freePort();
    const [cert, key, ca] = ['cert.pem', 'key.pem', 'ca.pem'].map((file) => join(directory, file));
    const identity = [`--cert=${cert}`, `--key=${key}`, `--cacert=${ca}`, '--quiet=all', '--shutdown-timeout=1s'];
    return { directory, port, child: await startServer(t, ghostunnel, [...flags(port), ...identity], port) };
  }
}

/** The names of all flags, one a line. */
async function flagsOf(ghostunnel: string): Promise<string> {
  const { stdout, stderr } = await run(ghostunnel, ['server', '--help']);
  return (`${stdout}${stderr}`.match(/--[a-z[][a-z0-9[\]-]*/g) ?? []).join('\n');
}

async function call(port: number, { cert, key, ca }: Trio): Promise<TLSSocket> {
  const socket = connectTls({ port, host: '127.0.0.1', servername: NAME, cert, key, ca, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  return socket;
}

async function serialShown(port: number, trio: Trio): Promise<string> {
  const socket = await call(port, trio);
  socket.on('error', () => {});
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

async function asked(socket: Socket, text: string | Buffer): Promise<string> {
  socket.write(text);
  return String((await once(socket, 'data'))[0]);
}

/** The first that comes back; nothing when the other side closes before. */
function heard(socket: Socket, text: string): Promise<string> {
  socket.on('error', () => {});
  return new Promise((resolve) => {
    socket.once('close', () => resolve(''));
    socket.once('data', (data) => {
      resolve(String(data));
      socket.destroy();
    });
    socket.write(text);
  });
}
