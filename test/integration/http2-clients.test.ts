import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { shortDirectory } from '../support/cli.ts';
import { startHttp } from '../support/http-rig.ts';
import { startHttp2 } from '../support/http2-rig.ts';
import { overwrite, spiffeIdOf, type TestAuthority } from '../support/identity-files.ts';
import { requireProgram } from '../support/programs.ts';
import { run } from '../support/servers.ts';
import { countBytes } from '../support/small-apps.ts';

const NAME = 'orders.ai-teddy.local';

async function identity(authority: TestAuthority): Promise<string> {
  const directory = shortDirectory(t);
  await overwrite(directory, authority.issue('web'));
  return directory;
}

/** Says what it got, as one line. */
const app: Parameters<typeof startHttp2>[1] = (stream, headers) => {
  countBytes(stream, (bytes) => {
    if (stream.destroyed) return;
    stream.respond({ ':status': 200 });
    stream.end(`${headers[':method']} ${headers[':path']} ${bytes} ${headers['x-forwarded-client-cert']}\n`);
  });
};

t.test('curl: HTTP/2 over mTLS to an inbound, and without TLS to an outbound', async (t) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const { authority, orders, web } = await startHttp2(t, app);
  const directory = await identity(authority);
  const { port } = orders.mtls;
  const trust = [
    '--cacert',
    'ca.pem',
    '--resolve',
    `${NAME}:${port}:127.0.0.1`,
    '--cert',
    'cert.pem',
    '--key',
    'key.pem',
  ];
  const call = async (...flags: string[]) =>
    (await run(curl, ['-sS', '--max-time', '20', '-w', '%{http_version}', ...flags], { cwd: directory })).stdout;
  t.match(await call(...trust, `https://${NAME}:${port}/a`), new RegExp(`^GET /a 0 .*URI=${spiffeIdOf('web')}\n2$`));
  await t.rejects(call(...trust, '--http1.1', `https://${NAME}:${port}/a`), 'which the app does not speak');
  const local = ['--http2-prior-knowledge', `http://127.0.0.1:${web.local.port}/b`];
  t.match(await call(...local), new RegExp(`^GET /b 0 .*URI=${spiffeIdOf('web')}\n2$`));
  await writeFile(join(directory, 'big'), Buffer.alloc(5_000_000));
  t.match(await call('-T', 'big', ...local), /^PUT \/b 5000000 /);
});

t.test('curl without TLS to a permissive inbound: served, and nobody vouches for it', async (t) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const { orders } = await startHttp2(t, app, { mode: 'permissive' });
  const url = `http://127.0.0.1:${orders.mtls.port}/p`;
  const forged = ['-H', 'x-forwarded-client-cert: URI=spiffe://evil'];
  const { stdout } = await run(curl, ['-sS', '--max-time', '20', '--http2-prior-knowledge', ...forged, url]);
  t.equal(stdout, 'GET /p 0 undefined\n');
  t.equal(await orders.metric('sidelock_connections_total{direction="inbound",listener="in",tls="plaintext"}'), 1);
});

t.test('nghttp: HTTP/2 over mTLS to an app of HTTP/1.1', async (t) => {
  const nghttp = requireProgram(t, 'nghttp');
  if (nghttp === undefined) return;
  const { authority, orders, received } = await startHttp(t);
  const directory = await identity(authority);
  const flags = [
    '-y',
    '-t',
    '20',
    '--cert=cert.pem',
    '--key=key.pem',
    '-H',
    'x-forwarded-client-cert: URI=spiffe://evil',
  ];
  const url = `https://127.0.0.1:${orders.mtls.port}/c`;
  t.equal((await run(nghttp, [...flags, url], { cwd: directory })).stdout, '/c');
  t.match(received(), /^GET \/c HTTP\/1\.1\r\n/);
  t.match(received(), `URI=${spiffeIdOf('web')}`);
  t.notMatch(received(), 'evil');
});

t.test('h2load: 2,000 requests of 8 clients, none lost, over one mTLS connection', async (t) => {
  const h2load = requireProgram(t, 'h2load');
  if (h2load === undefined) return;
  const { web, orders } = await startHttp2(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('x'.repeat(1_024));
  });
  const { stdout } = await run(h2load, ['-n', '2000', '-c', '8', '-m', '10', `http://127.0.0.1:${web.local.port}/`]);
  t.match(stdout, /2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout/);
  t.equal(await web.metric('sidelock_http_upstreams'), 1);
  t.equal(
    await orders.metric('sidelock_requests_total{direction="inbound",listener="in",method="GET",code_class="2xx"}'),
    2_000,
  );
  t.comment(/finished in .*/.exec(stdout)?.[0] ?? '');
});
