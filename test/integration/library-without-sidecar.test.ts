import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { createDispatcher, createIdentity, isSidelockError, secureContextFor } from '../../src/index.ts';
import { requestPeer } from '../../src/library/request-peer.ts';
import { type TestPki, testPki } from '../../src/library/testing.ts';
import { shortDirectory } from '../support/cli.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function identityIn(t: Test, pki: TestPki, service: string) {
  const directory = join(shortDirectory(t), service);
  await pki.write(directory, service);
  const identity = await createIdentity({ source: 'files', directory, debounceMs: 5 });
  t.teardown(() => identity[Symbol.asyncDispose]());
  return { identity, directory };
}

/** `orders`, which lets `web` in, as an https server of its own. */
async function startOrders(t: Test, pki: TestPki, handler: Handler) {
  const { identity, directory } = await identityIn(t, pki, 'orders');
  const refused: string[] = [];
  const secure = secureContextFor(identity, { allow: ['web'], onRefused: ({ code }) => refused.push(code) });
  const server = createServer(secure.options, handler);
  secure.attach(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  t.teardown(() => server.closeAllConnections());
  const { port } = server.address() as AddressInfo;
  return { identity, directory, refused, server, port, url: `https://127.0.0.1:${port}/` };
}

function dispatcherOf(t: Test, ...[identity, options]: Parameters<typeof createDispatcher>) {
  const dispatcher = createDispatcher(identity, options);
  t.teardown(() => dispatcher.destroy());
  return dispatcher;
}

const causeOf = (error: unknown) => (error instanceof Error && isSidelockError(error.cause) ? error.cause.code : error);

t.test('certificates of both sides change under load, and no request fails', async (t) => {
  const pki = await testPki();
  const serials = new Set<string>();
  const orders = await startOrders(t, pki, (request, response) => {
    serials.add(
      (request.socket as unknown as { getPeerX509Certificate(): { serialNumber: string } }).getPeerX509Certificate()
        .serialNumber,
    );
    response.end('two orders');
  });
  const web = await identityIn(t, pki, 'web');
  const dispatcher = dispatcherOf(t, web.identity, { expect: 'orders' });
  const stop = new AbortController();
  let answered = 0;
  const load = Array.from({ length: 4 }, async () => {
    while (!stop.signal.aborted) {
      const response = await fetch(orders.url, { dispatcher });
      if ((await response.text()) === 'two orders') answered++;
    }
  });
  const changes = web.identity.changes()[Symbol.asyncIterator]();
  for (let round = 0; round < 10; round++) {
    const changed = changes.next();
    await pki.write(web.directory, 'web');
    await pki.write(orders.directory, 'orders');
    await Promise.all([changed, orders.identity.renewNow()]);
    const before = answered;
    while (answered < before + 8) await fetch(orders.url, { dispatcher }).then((response) => response.text());
  }
  stop.abort();
  await Promise.all(load);
  t.ok(answered >= 80, `${answered} requests`);
  t.equal(web.identity.current().generation, 11);
  t.ok(serials.size >= 10, `${serials.size} certificates of web were seen`);
});

t.test('a request in flight ends on the connection it has', async (t) => {
  const pki = await testPki();
  const arrived = Promise.withResolvers<ServerResponse>();
  const orders = await startOrders(t, pki, (_request, response) => arrived.resolve(response));
  const web = await identityIn(t, pki, 'web');
  const dispatcher = dispatcherOf(t, web.identity, { expect: 'orders' });
  const slow = fetch(orders.url, { dispatcher });
  const response = await arrived.promise;
  await pki.write(web.directory, 'web');
  await web.identity.renewNow();
  response.end('late');
  t.equal(await (await slow).text(), 'late');
});

t.test('who is not expected gets no byte, who is not allowed none either', async (t) => {
  const pki = await testPki();
  let requests = 0;
  const orders = await startOrders(t, pki, (_request, response) => {
    requests++;
    response.end();
  });
  const web = await identityIn(t, pki, 'web');
  const call = (expect: string, url = orders.url) =>
    fetch(url, { dispatcher: dispatcherOf(t, web.identity, { expect }) }).then(() => 'answered', causeOf);
  t.equal(await call('orders'), 'answered');
  t.equal(await call('billing'), 'SL-TLS-006', 'another service than expected');
  t.equal(await call('orders', orders.url.replace('https', 'http')), 'SL-TLS-002', 'never plaintext');

  const batch = await identityIn(t, pki, 'batch');
  const denied = await fetch(orders.url, { dispatcher: dispatcherOf(t, batch.identity, { expect: 'orders' }) }).then(
    () => 'answered',
    () => 'closed',
  );
  t.equal(denied, 'closed');
  t.strictSame(orders.refused, ['SL-AUTHZ-001']);

  const strange = await identityIn(t, await testPki(), 'web');
  t.equal(
    await fetch(orders.url, { dispatcher: dispatcherOf(t, strange.identity, { expect: 'orders' }) }).catch(
      (error: Error) => (error.cause as { code: string }).code,
    ),
    'SELF_SIGNED_CERT_IN_CHAIN',
    'another authority',
  );
  const nobody = connect({ host: '127.0.0.1', port: orders.port, rejectUnauthorized: false });
  nobody.on('error', () => {});
  await new Promise((closed) => nobody.once('close', closed));
  t.equal(requests, 1, 'one request reached the handler');
});

t.test('a server that asks for no certificate lets nobody in', async (t) => {
  const pki = await testPki();
  const { identity } = await identityIn(t, pki, 'orders');
  const { cert, key } = await pki.issue('orders');
  const refused: string[] = [];
  const server = createServer({ cert, key }, () => t.fail('served'));
  secureContextFor(identity, { allow: 'any', onRefused: ({ code }) => refused.push(code) }).attach(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const web = await identityIn(t, pki, 'web');
  const dispatcher = dispatcherOf(t, web.identity, { expect: 'orders' });
  await t.rejects(fetch(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, { dispatcher }));
  t.strictSame(refused, ['SL-TLS-005']);
});

t.test('the word of a sidecar is read strictly', async (t) => {
  const hash = `Hash=${'0a'.repeat(32)}`;
  const from = (remoteAddress: string, field: string) =>
    requestPeer({ headers: { 'x-forwarded-client-cert': field }, socket: { remoteAddress } } as never, {
      mode: 'xfcc',
    });
  const read = (field: string) => from('127.0.0.1', field);
  const uri = 'URI=spiffe://ai-teddy.local/ns/shop/sa/web';
  t.match(read(`By=spiffe://x;${hash};Subject="CN=\\"web\\",O=a;b";${uri}`), {
    spiffeId: 'spiffe://ai-teddy.local/ns/shop/sa/web',
    service: 'web',
    namespace: 'shop',
  });
  t.equal(from('10.0.0.9', `${hash};${uri}`), null, 'not of another machine');
  for (const wrong of [
    '',
    uri,
    hash,
    `${hash};${uri},${hash};${uri}`,
    `${hash};${uri};${uri}`,
    `${hash};URI=https://web`,
    `${hash};${uri};`,
    `Hash=xy;${uri}`,
    `${hash};${uri};Subject="open`,
  ]) {
    t.equal(read(wrong), null, JSON.stringify(wrong));
  }
});

t.test('what did not come from createIdentity is refused by name', async (t) => {
  t.throws(() => secureContextFor({} as never, { allow: 'any' }), { code: 'SL-CFG-003' });
  const pki = await testPki();
  const { identity } = await identityIn(t, pki, 'web');
  t.throws(() => createDispatcher(identity, { expect: 'not a name' }), { code: 'SL-CFG-003' });
  t.notMatch(JSON.stringify(identity.current()), /PRIVATE KEY/);
});
