import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { echoesAStream, grpcClient, startGrpcServer } from '../support/grpc.ts';
import { requireProgram } from '../support/programs.ts';
import { postgresDirectories, run, startPostgres, startRedis } from '../support/servers.ts';
import { countBytes, echoMessages } from '../support/small-apps.ts';
import { WAYS } from '../support/ways.ts';

// Started once for all ways.
const postgres = lazy(async () => {
  const program = requireProgram(t, 'postgres', await postgresDirectories());
  return program === undefined ? undefined : startPostgres(t, program);
});
const redis = lazy(async () => {
  const program = requireProgram(t, 'redis-server');
  return program === undefined ? undefined : startRedis(t, program);
});

for (const way of WAYS) {
  t.test(way.name, async (t) => {
    t.test('curl: HTTP/1.1, an upload and a download', async (t) => {
      const curl = requireProgram(t, 'curl');
      if (curl === undefined) return;
      const app = createServer((request: IncomingMessage, response) => {
        countBytes(request, (bytes) => response.end(`${request.method} ${request.url} ${bytes} bytes`));
      });
      const port = await way.start(t, await portOf(t, app));
      if (port === undefined) return;
      const url = `http://127.0.0.1:${port}`;
      t.equal((await run(curl, ['-sS', `${url}/hello`])).stdout, 'GET /hello 0 bytes');
      t.equal(
        (await run(curl, ['-sS', '-T', process.execPath, `${url}/up`])).stdout.replace(/\d+/, 'N'),
        'PUT /up N bytes',
      );
    });

    t.test('psql: a session, a large result, COPY in', async (t) => {
      const psql = requireProgram(t, 'psql');
      const app = await postgres();
      if (psql === undefined || app === undefined) return;
      const port = await way.start(t, app);
      if (port === undefined) return;
      const sql = async (...commands: string[]) => {
        const where = `host=127.0.0.1 port=${port} user=app dbname=postgres sslmode=disable`;
        const flags = ['-X', '-q', '-t', '-A', '-v', 'ON_ERROR_STOP=1', ...commands.flatMap((c) => ['-c', c]), where];
        return (await run(psql, flags, { maxBuffer: 64 << 20 })).stdout;
      };
      t.equal(await sql("select 'through mTLS'"), 'through mTLS\n');
      const rows = await sql("select repeat('x', 99) from generate_series(1, 50000)");
      t.equal(rows.length, 50_000 * 100);
      t.equal(
        await sql(
          'drop table if exists a',
          'create table a(i int)',
          "copy a from program 'seq 1 1000'",
          'select sum(i) from a',
        ),
        '500500\n',
        'several statements in one session',
      );
    });

    t.test('redis-cli: commands, a pipeline and a megabyte', async (t) => {
      const cli = requireProgram(t, 'redis-cli');
      const app = await redis();
      if (cli === undefined || app === undefined) return;
      const port = await way.start(t, app);
      if (port === undefined) return;
      const ask = async (...command: string[]) =>
        (await run(cli, ['-p', String(port), ...command], { maxBuffer: 8 << 20 })).stdout;
      await ask('flushall');
      t.equal(await ask('set', 'a', 'b'), 'OK\n');
      t.equal(await ask('get', 'a'), 'b\n');
      t.equal(await ask('-r', '500', 'incr', 'n'), `${Array.from({ length: 500 }, (_, i) => i + 1).join('\n')}\n`);
      await ask('eval', "return redis.call('set', KEYS[1], string.rep('z', 1048576))", '1', 'big');
      t.equal((await ask('get', 'big')).length, 1_048_577);
    });

    t.test('WebSocket: text and binary both ways, and a clean close', async (t) => {
      const app = createServer();
      const sockets = echoMessages(app);
      const port = await way.start(t, await portOf(t, app));
      if (port === undefined) return;
      const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`);
      await once(socket, 'open');
      socket.send('hello');
      t.equal(String((await once(socket, 'message'))[0]), 'hello');
      const binary = Buffer.alloc(300_000, 7);
      socket.send(binary);
      t.ok(binary.equals((await once(socket, 'message'))[0]));
      socket.close(1000, 'done');
      t.match(await once(socket, 'close'), [1000]);
      sockets.close();
    });

    t.test('gRPC: a unary call, a status with trailers, and a stream both ways', async (t) => {
      const app = await startGrpcServer(t);
      const port = await way.start(t, app.port);
      if (port === undefined) return;
      const client = grpcClient(t, port);
      const good = await client.say(Buffer.from('hello'));
      t.equal(String(good.answer), 'hello');
      t.same(good.trailers?.get('x-length'), ['5']);
      const bad = await client.say(Buffer.alloc(0));
      t.match(bad.error, { code: status.INVALID_ARGUMENT, details: 'empty' });

      await echoesAStream(t, client);
    });
  });
}

async function portOf(t: Test, server: ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a TCP port was expected');
  return address.port;
}

function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
