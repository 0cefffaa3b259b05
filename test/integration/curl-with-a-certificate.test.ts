import { createServer } from 'node:http';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { shortDirectory } from '../support/cli.ts';
import { overwrite, spiffeIdOf, testAuthority } from '../support/identity-files.ts';
import { startNode } from '../support/mesh.ts';
import { requireProgram } from '../support/programs.ts';
import { run } from '../support/servers.ts';
import { countBytes } from '../support/small-apps.ts';

t.test('curl with a certificate calls an inbound with protocol: http; without one it gets nothing', async (t) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const app = createServer((request, response) => {
    countBytes(request, (bytes) =>
      response.end(`${request.method} ${bytes} ${request.headers['x-forwarded-client-cert']}\n`),
    );
  });
  const target = await listen(app, { host: '127.0.0.1', port: 0 }, 'the app');
  t.teardown(() => {
    app.close();
    app.closeAllConnections();
  });
  const authority = testAuthority();
  const inbound = { target: { host: '127.0.0.1', port: target.port }, allow: ['web'] };
  const { mtls } = await startNode(t, { service: 'orders', authority, protocol: 'http', inbound });
  const directory = shortDirectory(t);
  await overwrite(directory, authority.issue('web'));

  const name = 'orders.ai-teddy.local';
  const url = `https://${name}:${mtls.port}/`;
  const trust = ['-sS', '--max-time', '20', '--cacert', 'ca.pem', '--resolve', `${name}:${mtls.port}:127.0.0.1`];
  const identity = ['--cert', 'cert.pem', '--key', 'key.pem'];
  const call = async (...flags: string[]) => (await run(curl, [...trust, ...flags], { cwd: directory })).stdout;

  const [first, second] = (await call(...identity, '-w', '%{num_connects}\n', url, url)).trim().split(/(?<=\n[01])\n/);
  t.match(first, /^GET 0 .*/);
  t.match(first, `URI=${spiffeIdOf('web')}`, 'the app is told who calls');
  t.match(first, /\n1$/);
  t.match(second, /\n0$/, 'the second request goes over the same connection');
  t.match(await call(...identity, '-H', 'X-Forwarded-Client-Cert: URI=spiffe://evil', url), /^(?!.*evil)/);
  t.match(await call(...identity, '-T', process.execPath, url), /^PUT \d{8,} /);
  t.match(await call(...identity, '-I', url), /^HTTP\/1\.1 200 OK/);
  await t.rejects(call(url), 'without a certificate');
});
