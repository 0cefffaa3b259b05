/** Who calls, in the handlers of fastify and express: from the certificate itself, or from the word of a sidecar. */
import { mkdtemp } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fastify } from 'fastify';
import { createDispatcher, createIdentity, secureContextFor } from '../../src/index.ts';
import { peerIdentity as expressPeer } from '../../src/library/express.ts';
import { peerIdentity } from '../../src/library/fastify.ts';
import { testPki } from '../../src/library/testing.ts';

const pki = await testPki();
const directory = await mkdtemp('certificates-');
for (const service of ['web', 'orders']) await pki.write(join(directory, service), service);
await using orders = await createIdentity({ source: 'files', directory: join(directory, 'orders') });
await using web = await createIdentity({ source: 'files', directory: join(directory, 'web') });

// fastify, which speaks mTLS itself
const secure = secureContextFor(orders, { allow: 'any' });
const app = fastify({ https: secure.options });
secure.attach(app.server);
await app.register(peerIdentity, { mode: 'direct' });
app.get('/', async (request) => ({ caller: request.peer?.service }));
const address = await app.listen({ host: '127.0.0.1', port: 0 });
const dispatcher = createDispatcher(web, { expect: 'orders' });
console.log('fastify', await (await fetch(address, { dispatcher })).json());
await dispatcher.close();
await app.close();

// Behind a sidecar, with the middleware that express (or a plain server, as here) calls
const middleware = expressPeer({ mode: 'xfcc' });
const plain = createServer((request: IncomingMessage, response) => {
  middleware(request, response, () => response.end(request.peer?.spiffeId ?? 'nobody'));
});
await new Promise<void>((done) => plain.listen(0, '127.0.0.1', done));
const behind = `http://127.0.0.1:${(plain.address() as AddressInfo).port}/`;
const field = `Hash=${'ab'.repeat(32)};URI=${web.current().spiffeId}`;
console.log('sidecar', await (await fetch(behind, { headers: { 'x-forwarded-client-cert': field } })).text());
console.log('forged', await (await fetch(behind, { headers: { 'x-forwarded-client-cert': `URI=x,${field}` } })).text());
plain.close();
