import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createDispatcher, createIdentity, secureContextFor } from '../../src/index.ts';
import { type Rig, startRig } from '../support/manager/rig.ts';
import { until } from '../support/until.ts';

async function identityOf(t: Test, rig: Rig, service: string) {
  const { token } = await rig.manager.tokens.create({ service });
  const identity = await createIdentity({
    ...{ source: 'manager', service, directory: join(rig.storage, '..', service), keyType: 'ecdsa-p256' },
    token: async () => token,
  });
  t.teardown(() => identity[Symbol.asyncDispose]());
  return identity;
}

t.test('a program without a sidecar follows revocations and roots of its manager', async (t) => {
  const rig = await startRig(t);
  const [orders, web] = await Promise.all([identityOf(t, rig, 'orders'), identityOf(t, rig, 'web')]);
  const refused: string[] = [];
  const secure = secureContextFor(orders, { allow: ['web'], onRefused: ({ code }) => refused.push(code) });
  const server = createServer(secure.options, (request, response) => {
    // Never answered but for its head: open until somebody closes it.
    if (request.url === '/open') response.writeHead(200).flushHeaders();
    else response.end('two orders');
  });
  secure.attach(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  t.teardown(() => server.closeAllConnections());
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const dispatcher = createDispatcher(web, { expect: 'orders' });
  t.teardown(() => dispatcher.destroy());

  await rig.manager.trust.take('stage');
  await until(async () => (await rig.manager.trust.status()).lacking.length === 0);
  await rig.manager.trust.take('activate');
  await until(() => rig.manager.trust.behind() === 0);
  t.ok(web.current().generation > 1, 'a certificate of the next root');
  t.equal(await (await fetch(url, { dispatcher })).text(), 'two orders');

  const open = await fetch(`${url}/open`, { dispatcher });
  await rig.manager.revocations.revoke({ service: 'web', reason: 'keyCompromise' });
  await t.rejects(open.text(), 'what it had open is closed');
  await t.rejects(fetch(url, { dispatcher }), 'and nothing new begins');
  t.match(refused, ['SL-TLS-012']);
});
