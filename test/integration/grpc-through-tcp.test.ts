import { connect } from 'node:tls';
import t from 'tap';
import { everyKindOfCall, grpcClient, grpcClientTls, grpcServerTls, startGrpcServer } from '../support/grpc.ts';
import { type TestAuthority, testAuthority } from '../support/identity-files.ts';
import { startNode } from '../support/mesh.ts';

t.test('a gRPC client that does mTLS itself calls an h2c app behind protocol: tcp', async (t) => {
  const authority = testAuthority();
  const app = await startGrpcServer(t);
  const target = { host: '127.0.0.1', port: app.port };
  const inbound = { target, allow: ['web'], alpn: ['h2'] };
  const { mtls } = await startNode(t, { service: 'orders', authority, inbound });
  await everyKindOfCall(t, grpcClient(t, mtls.port, grpcClientTls(authority.issue('web'))), app.seen);
  const stranger = grpcClient(t, mtls.port, grpcClientTls(authority.issue('evil')));
  t.match((await stranger.say(Buffer.from('x'), { deadlineMs: 2_000 })).error, { code: /4|14/ });
});

t.test('an app calls a gRPC server that does mTLS itself through protocol: tcp', async (t) => {
  const authority = testAuthority();
  const app = await startGrpcServer(t, grpcServerTls(authority.issue('orders')));
  const address = { host: '127.0.0.1', port: app.port };
  const outbound = { service: 'orders', address, alpn: ['h2'] };
  const { local } = await startNode(t, { service: 'web', authority, outbound });
  await everyKindOfCall(t, grpcClient(t, local.port), app.seen);
});

t.test('C83, C84: what an inbound agrees on is what its app speaks', async (t) => {
  const authority = testAuthority();
  const inbound = { target: { host: '127.0.0.1', port: 1 }, allow: ['web'] };
  const h2 = { ...inbound, alpn: ['h2', 'http/1.1'] };
  for (const streams of [true, false]) {
    const node = await startNode(t, { service: 'orders', authority, inbound: h2, streams });
    t.equal(await agreed(authority, node.mtls.port, ['h2']), 'h2');
    t.equal(await agreed(authority, node.mtls.port, ['http/1.1', 'h2']), 'h2', 'our order counts');
    t.equal(await agreed(authority, node.mtls.port, ['http/1.1']), 'http/1.1');
    t.equal(await agreed(authority, node.mtls.port, ['sidelock/1', 'h2']), streams ? 'sidelock/1' : 'h2');
    t.equal(await agreed(authority, node.mtls.port, ['http/1.0']), 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
    await agreed(authority, node.mtls.port, undefined);
    const reason =
      'sidelock_handshakes_total{direction="inbound",listener="in",result="failed",reason="alpn_mismatch"}';
    t.equal(await node.metric(reason), 2, 'who offers nothing is refused too');
  }
  const open = await startNode(t, { service: 'orders', authority, inbound });
  t.equal(await agreed(authority, open.mtls.port, ['h2', 'http/1.1']), 'http/1.1', 'unless the app is known, HTTP/1.1');
  t.equal(await agreed(authority, open.mtls.port, ['h2']), 'h2', 'or the only wish');
  t.equal(await agreed(authority, open.mtls.port, undefined), false);
});

t.test('an outbound with alpn refuses a peer that agrees on none', async (t) => {
  const authority = testAuthority();
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target: { host: '127.0.0.1', port: 1 }, allow: ['web'] },
    streams: false,
  });
  const outbound = { service: 'orders', address: orders.mtls, alpn: ['h2'] };
  const web = await startNode(t, { service: 'web', authority, outbound, streams: false });
  const client = grpcClient(t, web.local.port);
  t.match((await client.say(Buffer.from('x'), { deadlineMs: 2_000 })).error, { code: /4|14/ });
  t.ok(
    (await web.metric(
      'sidelock_handshakes_total{direction="outbound",listener="out",result="failed",reason="alpn_mismatch"}',
    )) > 0,
  );
});

/** The protocol agreed on with `port`, or the code of the failure. */
async function agreed(authority: TestAuthority, port: number, offer: string[] | undefined) {
  const { cert, key, ca } = authority.issue('web');
  const socket = connect({
    port,
    host: '127.0.0.1',
    cert,
    key,
    ca,
    checkServerIdentity: () => undefined,
    ...(offer === undefined ? {} : { ALPNProtocols: offer }),
  });
  const result = await new Promise<unknown>((resolve) => {
    socket.once('secureConnect', () => resolve(socket.alpnProtocol));
    socket.once('error', (error) => resolve('code' in error ? error.code : error));
  });
  // The refusal of who offers nothing comes after its side of the handshake.
  if (offer === undefined) {
    socket.on('error', () => {});
    socket.resume();
    await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  }
  socket.destroy();
  return result;
}
