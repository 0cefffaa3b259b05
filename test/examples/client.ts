/** A service that calls others by mTLS and needs no sidecar: `fetch` with a certificate that is kept current. */
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createDispatcher, createIdentity, secureContextFor } from '../../src/index.ts';
import { testPki } from '../../src/library/testing.ts';

const pki = await testPki();
const directory = await mkdtemp('certificates-');
await pki.write(join(directory, 'web'), 'web');
await pki.write(join(directory, 'orders'), 'orders');

// The server: any tls or https server.
await using orders = await createIdentity({ source: 'files', directory: join(directory, 'orders') });
const secure = secureContextFor(orders, { allow: ['web'] });
await using server = createServer(secure.options, (_request, response) => response.end('two orders'));
secure.attach(server);
await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;

// The client. `expect` says who has to answer; the address is only the way there.
await using web = await createIdentity({ source: 'files', directory: join(directory, 'web') });
const dispatcher = createDispatcher(web, { expect: 'orders' });
console.log(await (await fetch(url, { dispatcher })).text());

// After a rotation the next call goes out with the new certificate.
const before = web.current().serial;
await pki.write(join(directory, 'web'), 'web');
await web.renewNow();
console.log(before !== web.current().serial, (await fetch(url, { dispatcher })).status);

// Nothing is said to somebody else.
const strict = createDispatcher(web, { expect: 'billing' });
const refused = await fetch(url, { dispatcher: strict }).catch((error: Error) => error.cause);
console.log((refused as { code: string }).code);
await Promise.all([dispatcher.close(), strict.close()]);
