import { createServer } from 'node:net';
import t from 'tap';
import { isSidelockError, type SidelockError } from '../../../src/base/errors.ts';
import { formatAddress, listen } from '../../../src/base/listen.ts';

async function failure(promise: Promise<unknown>): Promise<SidelockError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (isSidelockError(error)) return error;
  throw new Error(`expected a SidelockError, got ${String(error)}`);
}

t.test('resolves with the address the system chose', async (t) => {
  const server = createServer();
  t.teardown(() => server.close());
  const address = await listen(server, { host: '127.0.0.1', port: 0 }, 'a test');
  t.equal(address.address, '127.0.0.1');
  t.ok(address.port > 0);
  t.equal(server.listenerCount('error'), 0, 'no error listener is left behind');
});

t.test('a port in use is named with what wanted it and who holds it', async (t) => {
  const holder = createServer();
  const second = createServer();
  t.teardown(() => holder.close());
  const { port } = await listen(holder, { host: '127.0.0.1', port: 0 }, 'the holder');
  const error = await failure(listen(second, { host: '127.0.0.1', port }, 'inbound api'));
  t.equal(error.code, 'SL-NET-001');
  t.equal(error.message, `127.0.0.1:${port} for inbound api is in use`);
  if (process.platform === 'linux') t.match(error.why, new RegExp(`\\(pid ${process.pid}\\) listens there$`));
  t.match(error.fix, /another port/);
});

t.test('an address of another machine is refused with the reason', async (t) => {
  const error = await failure(listen(createServer(), { host: '192.0.2.1', port: 0 }, 'admin'));
  t.equal(error.code, 'SL-NET-002');
  t.match(error.why, /EADDRNOTAVAIL/);
});

t.test('addresses are written with brackets around IPv6', async (t) => {
  t.equal(formatAddress({ host: '::1', port: 80 }), '[::1]:80');
  t.equal(formatAddress({ host: '127.0.0.1', port: 80 }), '127.0.0.1:80');
});
