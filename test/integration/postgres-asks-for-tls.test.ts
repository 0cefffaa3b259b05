import { once } from 'node:events';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { testAuthority } from '../support/identity-files.ts';
import { startApp, startNode } from '../support/mesh.ts';
import { requireProgram } from '../support/programs.ts';
import { postgresDirectories, run, startPostgres } from '../support/servers.ts';

const SSL = Buffer.from('0000000804d2162f', 'hex');
const GSS = Buffer.from('0000000804d21630', 'hex');
const CANCEL = Buffer.from('0000001004d2162e0000000100000002', 'hex');

/** The local port of `web`'s sidecar that leads to an app on `port`. */
async function through(t: Test, port: number, more: { answerSslRequest?: boolean; userBuffers?: boolean } = {}) {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port };
  const { answerSslRequest = true, ...options } = more;
  const db = await startNode(t, { service: 'db', authority, inbound: { target, allow: ['web'] }, ...options });
  const outbound = { service: 'db', address: db.mtls, answerSslRequest };
  return (await startNode(t, { service: 'web', authority, outbound, ...options })).local.port;
}

t.test('psql with sslmode=prefer has its session, and with require is told no', async (t) => {
  const psql = requireProgram(t, 'psql');
  const postgres = requireProgram(t, 'postgres', await postgresDirectories());
  if (psql === undefined || postgres === undefined) return;
  const port = await through(t, await startPostgres(t, postgres));
  const select = (sslmode: string) =>
    run(psql, [
      '-XqtAc',
      "select 'through mTLS'",
      `host=127.0.0.1 port=${port} user=app dbname=postgres sslmode=${sslmode}`,
    ]);
  t.equal((await select('prefer')).stdout, 'through mTLS\n');
  t.equal((await select('disable')).stdout, 'through mTLS\n');
  const refused = await select('require').catch((error: unknown) => error);
  t.match(refused, { stderr: /server does not support SSL/ });
});

for (const userBuffers of [true, false]) {
  t.test(`the app never sees the question: ${userBuffers ? 'user buffers' : 'data events'}`, async (t) => {
    const app = await startApp(t, (socket) => socket.on('data', (data) => socket.write(`got ${data.toString('hex')}`)));
    const port = await through(t, app, { userBuffers });
    const start = Buffer.from('00000008000300000', 'hex');
    for (const [writes, answer] of [
      [[SSL, start], `Ngot ${start.toString('hex')}`],
      [[SSL, GSS, start], `NNgot ${start.toString('hex')}`],
      [[...SSL].map((byte) => Buffer.from([byte])), 'N'],
      [[Buffer.concat([SSL, start])], `Ngot ${start.toString('hex')}`],
      [[CANCEL], `got ${CANCEL.toString('hex')}`],
      [[Buffer.from('hello')], 'got 68656c6c6f'],
      [[SSL, SSL, SSL], `NNgot ${SSL.toString('hex')}`],
    ] as const) {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      let received = '';
      socket.on('data', (data) => {
        received += data;
      });
      for (const bytes of writes) await new Promise((resolve) => socket.write(bytes, resolve));
      while (received.length < answer.length) await once(socket, 'data');
      t.equal(received, answer);
      socket.destroy();
    }
  });
}

t.test('without the key the question is the business of the app', async (t) => {
  const app = await startApp(t, (socket) => socket.on('data', () => socket.write('S')));
  const socket = connect(await through(t, app, { answerSslRequest: false }), '127.0.0.1');
  socket.write(SSL);
  t.equal(String((await once(socket, 'data'))[0]), 'S');
  socket.destroy();
});
