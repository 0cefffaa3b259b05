import { once } from 'node:events';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import t, { type Test } from 'tap';
import { spiffeIdOf, testAuthority } from '../support/identity-files.ts';
import { startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

t.test('C87, C88: certificates of the same root that are none of a caller: manager, device, ourselves', async (t) => {
  const rig = await startRig(t);
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const inbound = (name: string, allow: 'any' | string[]) =>
    ({ name, listen: ANY, target, protocol: 'tcp', allow }) as const;
  const orders = await startEnrolled(t, rig, 'orders', {
    inbound: [
      inbound('web', ['web']),
      inbound('any', 'any'),
      inbound('devices', ['devices/*']),
      inbound('self', ['orders']),
    ],
  });
  const bear = await rig.manager.devices.create({ device: 'web' });
  const of = ({ certPem, keyPem }: { certPem: string; keyPem: string | Buffer }) => ({ cert: certPem, key: keyPem });
  const callers: Record<string, ConnectionOptions> = {
    manager: of(await rig.manager.managerIdentity()),
    device: { cert: bear.certificate, key: bear.privateKey },
    self: of(await rig.enroll('orders')),
    web: of(await rig.enroll('web')),
  };
  const found: Record<string, string[]> = {};
  for (const [who, identity] of Object.entries(callers)) {
    found[who] = [];
    for (const { name, address } of orders.sidecar.inbound) {
      if (await isServed(t, address.port, identity)) found[who]?.push(name);
    }
  }
  t.strictSame(found, { manager: [], device: ['devices'], self: ['any', 'self'], web: ['web', 'any'] });
});

t.test('C82: a name in SNI changes nothing: who calls is in the certificate, whom is the port', async (t) => {
  const authority = testAuthority();
  const target = { host: '127.0.0.1', port: await startApp(t, echo) };
  const orders = await startNode(t, { service: 'orders', authority, inbound: { target, allow: ['web'] } });
  const { port } = orders.mtls;
  const names = [
    'orders',
    'orders.ai-teddy.local',
    'billing.ai-teddy.local',
    'unknown.example',
    'ORDERS.AI-TEDDY.LOCAL',
    'orders.',
  ];
  for (const servername of [undefined, ...names]) {
    const sni = servername === undefined ? {} : { servername };
    t.ok(await isServed(t, port, { ...authority.issue('web'), ...sni }), `${servername}: web is served`);
    t.notOk(await isServed(t, port, { ...authority.issue('evil'), ...sni }), `${servername}: another is not`);
  }
  t.ok(orders.events('denied').every(({ peer }) => (peer as { id?: string }).id === spiffeIdOf('evil')));

  // What no library sends.
  const hello = await clientHello('name.example');
  for (const name of ['127.0.0.1', 'na\0e.example', 'a'.repeat(300), '']) {
    const socket = connectTcp({ port, host: '127.0.0.1' });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    socket.write(withName(hello, 'name.example', name));
    const answer = await new Promise<string>((resolve) => {
      socket.once('data', (bytes: Buffer) => resolve(bytes[0] === 22 ? 'the handshake goes on' : 'an alert'));
      socket.once('close', () => resolve('closed'));
    });
    t.comment(`${JSON.stringify(name.slice(0, 20))}: ${answer}`);
    socket.destroy();
    t.ok(await isServed(t, port, authority.issue('web')), 'others are served');
  }
  await until(() => orders.sidecar.connections().length === 0);
});

/** Whether the app answers. */
async function isServed(t: Test, port: number, identity: ConnectionOptions): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1', ...identity, rejectUnauthorized: false });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.write('x');
  const served = await new Promise<boolean>((resolve) => {
    socket.once('data', () => resolve(true));
    socket.once('close', () => resolve(false));
  });
  socket.destroy();
  return served;
}

async function clientHello(servername: string): Promise<Buffer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  const socket = connect({ port, host: '127.0.0.1', servername });
  socket.on('error', () => {});
  const [peer] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(peer, 'data')) as [Buffer];
  peer.destroy();
  server.close();
  return hello;
}

/** The same ClientHello with another name, and the six lengths around it. */
function withName(hello: Buffer, before: string, after: string): Buffer {
  const at = hello.indexOf(before);
  const longer = after.length - before.length;
  const out = Buffer.concat([hello.subarray(0, at), Buffer.from(after), hello.subarray(at + before.length)]);
  const session = 43 + 1 + (hello[43] ?? 0);
  const ciphers = session + 2 + hello.readUInt16BE(session);
  const extensions = ciphers + 1 + (hello[ciphers] ?? 0);
  // Of the record, of all extensions, of this one, of its list and of the name; the message has three bytes.
  for (const place of [3, extensions, at - 7, at - 5, at - 2]) {
    out.writeUInt16BE(hello.readUInt16BE(place) + longer, place);
  }
  out.writeUIntBE(hello.readUIntBE(6, 3) + longer, 6, 3);
  return out;
}
