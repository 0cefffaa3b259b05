import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { openBrowser } from '../support/browser.ts';
import { PAGE_WORKED, startHttp2App, startWebApp } from '../support/clients/apps.ts';
import {
  type ClientName,
  MISFITS,
  misfit,
  PROTOCOLS,
  type Protocol,
  ROADS,
  type Road,
} from '../support/clients/table.ts';
import { echoesAStream, grpcClient, startGrpcServer } from '../support/grpc.ts';
import { testAuthority } from '../support/identity-files.ts';
import { startNode } from '../support/mesh.ts';
import { requireProgram } from '../support/programs.ts';
import { postgresDirectories, run, startMariadb, startPostgres, startRedis } from '../support/servers.ts';

interface Client {
  /** Port of its app; undefined when a program is missing, and that was said. */
  readonly app: (protocol: Protocol) => Promise<number | undefined>;
  /** Calls what listens on the port; undefined when its program is missing, and that was said. */
  readonly call: (t: Test, port: number, protocol: Protocol) => Promise<void>;
}

// Each is started once.
const web = lazy(() => startWebApp(t));
const h2 = lazy(() => startHttp2App(t));
const grpc = lazy(async () => (await startGrpcServer(t)).port);
const postgres = lazy(async () => {
  const program = requireProgram(t, 'postgres', await postgresDirectories());
  return program === undefined ? undefined : await startPostgres(t, program);
});
const redis = lazy(async () => {
  const program = requireProgram(t, 'redis-server');
  return program === undefined ? undefined : await startRedis(t, program);
});
const mariadb = lazy(async () => {
  const program = requireProgram(t, 'mariadbd');
  return program === undefined ? undefined : await startMariadb(t, program);
});
const chromium = lazy(() => openBrowser(t));

// Those that take long begin while others are tried; who needs one hears of its failure.
for (const start of [mariadb, postgres, chromium]) start().catch(() => {});

const CLIENTS: Readonly<Record<ClientName, Client>> = {
  curl: {
    app: (protocol) => (protocol === 'http2' ? h2() : web()),
    async call(t, port, protocol) {
      const curl = requireProgram(t, 'curl');
      if (curl === undefined) return;
      const flags = protocol === 'http2' ? ['--http2-prior-knowledge'] : [];
      const ask = async (...args: string[]) => (await run(curl, ['-sS', '--max-time', '30', ...flags, ...args])).stdout;
      const url = `http://127.0.0.1:${port}`;
      t.equal(await ask(`${url}/a`), 'GET /a 0 bytes');
      // curl 7.88 cannot use a connection of HTTP/2 without TLS twice, whatever the server.
      if (protocol !== 'http2') t.equal(await ask(`${url}/a`, `${url}/b`), 'GET /a 0 bytesGET /b 0 bytes');
      t.equal(await ask('-T', UPLOAD, `${url}/up`), `PUT /up ${statSync(UPLOAD).size} bytes`);
    },
  },
  Chromium: {
    app: web,
    async call(t, port) {
      const browser = await chromium();
      if (browser === undefined) return;
      const page = await browser.newPage();
      let changed = false;
      page.on('requestfailed', (request) => {
        changed ||= request.failure()?.errorText === 'net::ERR_NETWORK_CHANGED';
      });
      // Chromium breaks off all it does when a network interface of the machine comes or goes, as those of containers do.
      for (let tries = 0; tries === 0 || (changed && tries < 20); tries++) {
        changed = false;
        await page.goto(`http://127.0.0.1:${port}/page`).catch((error: unknown) => {
          if (!changed) throw error;
        });
        await page.waitForFunction("document.title !== 'waiting'", { timeout: 60_000 });
      }
      t.equal(await page.title(), PAGE_WORKED, 'requests at once, an upload, events, a WebSocket');
      await page.close();
    },
  },
  'Node fetch': {
    app: web,
    async call(t, port) {
      const ask = async (path: string, init?: RequestInit) =>
        (await fetch(`http://127.0.0.1:${port}${path}`, init)).text();
      t.equal(await ask('/a'), 'GET /a 0 bytes');
      t.equal(await ask('/up', { method: 'POST', body: 'x'.repeat(1_000_000) }), 'POST /up 1000000 bytes');
      const many = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(`/${i}`)));
      t.equal(many[49], 'GET /49 0 bytes');
    },
  },
  WebSocket: {
    app: web,
    async call(t, port) {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`);
      await once(socket, 'open');
      socket.send('hello');
      t.equal(String((await once(socket, 'message'))[0]), 'hello');
      const binary = Buffer.alloc(300_000, 7);
      socket.send(binary);
      t.ok(binary.equals((await once(socket, 'message'))[0]));
      socket.close(4001, 'done');
      t.match(await once(socket, 'close'), [4001]);
    },
  },
  'gRPC, with streams': {
    app: grpc,
    async call(t, port) {
      const client = grpcClient(t, port);
      t.equal(String((await client.say(Buffer.from('hello'))).answer), 'hello');
      t.match((await client.say(Buffer.alloc(0))).error, { code: status.INVALID_ARGUMENT });
      await echoesAStream(t, client);
    },
  },
  psql: {
    app: postgres,
    async call(t, port) {
      const psql = requireProgram(t, 'psql');
      if (psql === undefined) return;
      const where = `host=127.0.0.1 port=${port} user=app dbname=postgres sslmode=disable`;
      const sql = async (query: string) => (await run(psql, ['-XqtA', '-c', query, where], BIG)).stdout;
      t.equal(await sql("select 'hello'"), 'hello\n');
      t.equal((await sql("select repeat('x', 99) from generate_series(1, 10000)")).length, 1_000_000);
    },
  },
  'redis-cli': {
    app: redis,
    async call(t, port) {
      const redisCli = requireProgram(t, 'redis-cli');
      if (redisCli === undefined) return;
      const ask = async (...command: string[]) => (await run(redisCli, ['-p', String(port), ...command], BIG)).stdout;
      t.equal(await ask('set', 'a', 'b'), 'OK\n');
      t.equal((await ask('-r', '200', 'get', 'a')).length, 400);
    },
  },
  mariadb: {
    app: mariadb,
    async call(t, port) {
      const client = requireProgram(t, 'mariadb');
      if (client === undefined) return;
      const flags = [
        '--no-defaults',
        '-h',
        '127.0.0.1',
        '-P',
        String(port),
        '-u',
        'root',
        '--skip-ssl',
        '-N',
        '-B',
        '-D',
        'mysql',
      ];
      const sql = async (query: string) => (await run(client, [...flags, '-e', query], BIG)).stdout;
      t.equal(await sql("select 'hello'"), 'hello\n', 'the server speaks first');
      t.equal((await sql("select repeat('x', 99) from seq_1_to_10000")).length, 1_000_000);
    },
  },
};
/** A file of a few hundred kB that is there anyway. */
const UPLOAD = join(import.meta.dirname, '../../package-lock.json');
const BIG = { maxBuffer: 8 << 20 };

for (const name of Object.keys(MISFITS) as ClientName[]) {
  for (const protocol of PROTOCOLS.filter((one) => misfit(name, one) === undefined)) {
    t.test(`${name}, protocol: ${protocol}`, async (t) => {
      const { app, call } = CLIENTS[name];
      const port = await app(protocol);
      if (port === undefined) return;
      for (const road of ROADS) {
        await t.test(road, async (t) => {
          const to = await take(t, road, protocol, port);
          await call(t, to.port, protocol);
          await to.check(t);
        });
      }
    });
  }
}

/** The port that leads to the app on this road. */
async function take(t: Test, road: Road, protocol: Protocol, app: number) {
  const authority = testAuthority();
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    protocol,
    inbound: {
      target: { host: '127.0.0.1', port: app },
      allow: ['web'],
      mode: road === 'strict' ? 'strict' : 'permissive',
    },
  });
  const opened = (tls: string) =>
    orders.metric(`sidelock_connections_total{direction="inbound",listener="in",tls="${tls}"}`);
  const check = async (t: Test) => {
    const [with_, without] = road === 'plaintext' ? ['plaintext', 'mtls'] : ['mtls', 'plaintext'];
    t.ok((await opened(with_)) > 0);
    t.equal(await opened(without), 0);
  };
  if (road === 'plaintext') return { port: orders.mtls.port, check };
  const outbound = { service: 'orders', address: orders.mtls };
  return { port: (await startNode(t, { service: 'web', authority, protocol, outbound })).local.port, check };
}

function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
