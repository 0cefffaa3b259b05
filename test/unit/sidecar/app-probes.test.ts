import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import t from 'tap';
import { Readiness } from '../../../src/base/lifecycle.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import { startHealth } from '../../../src/sidecar/admin.ts';

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

t.test('the health listener asks the app what kubelet asks it', async (t) => {
  let status = 200;
  const app = await portOf(
    createHttpServer((request, response) => {
      response.writeHead(request.headers['x'] === 'y' && request.url === '/ready?deep=1' ? status : 404, {
        location: '/',
      });
      response.end('ok');
    }),
  );
  const tcp = await portOf(createTcpServer((socket) => socket.end()));
  const gone = createTcpServer();
  const nobody = await portOf(gone);
  gone.close();
  const probe = (path: string, target: string, headers = {}) => ({ path, target: new URL(target), headers });
  const health = await startHealth({
    listen: { host: '127.0.0.1', port: 0 },
    readiness: new Readiness(),
    metrics: createMetrics(),
    probes: [
      probe('/app-health/app/readyz', `http://127.0.0.1:${app}/ready?deep=1`, { x: 'y' }),
      probe('/app-health/app/livez', `tcp://127.0.0.1:${tcp}`),
      probe('/app-health/gone/livez', `tcp://127.0.0.1:${nobody}`),
      probe('/app-health/gone/readyz', `http://127.0.0.1:${nobody}/`),
    ],
  });
  t.teardown(() => health[Symbol.asyncDispose]());
  const ask = async (path: string) => (await fetch(`${health.url}${path}`, { redirect: 'manual' })).status;

  t.equal(await ask('/app-health/app/readyz'), 200);
  status = 503;
  t.equal(await ask('/app-health/app/readyz'), 503);
  status = 302;
  t.equal(
    await ask('/app-health/app/readyz'),
    200,
    'kubelet takes a redirection for a yes, and must not follow it here',
  );
  t.equal(await ask('/app-health/app/livez'), 200);
  t.equal(await ask('/app-health/gone/livez'), 503);
  t.equal(await ask('/app-health/gone/readyz'), 503);
  t.equal(await ask('/app-health/other/readyz'), 404, 'nothing else of the app is reached');
  t.equal(await ask('/readyz'), 200);
});
