import { Metadata, status } from '@grpc/grpc-js';
import t from 'tap';
import { everyKindOfCall, grpcClient, grpcClientTls, grpcServerTls, startGrpcServer } from '../support/grpc.ts';
import { spiffeIdOf, testAuthority } from '../support/identity-files.ts';
import { startNode } from '../support/mesh.ts';

const DENIED = { paths: ['/demo.Echo/Say', '/demo.Echo/Chat', '/demo.Echo/Never'] };

t.test('a gRPC client and a gRPC app that know nothing of TLS, through two sidecars', async (t) => {
  const authority = testAuthority();
  const app = await startGrpcServer(t);
  const target = { host: '127.0.0.1', port: app.port };
  const allow = [{ service: 'web', ...DENIED }];
  const orders = await startNode(t, { service: 'orders', authority, protocol: 'http2', inbound: { target, allow } });
  const outbound = { service: 'orders', address: orders.mtls };
  const web = await startNode(t, { service: 'web', authority, protocol: 'http2', outbound, accessLog: 1 });
  const client = grpcClient(t, web.local.port);
  await everyKindOfCall(t, client, app.seen);

  const forged = new Metadata();
  forged.set('x-forwarded-client-cert', 'URI=spiffe://ai-teddy.local/ns/default/sa/admin');
  forged.set('x-custom', 'kept');
  await client.say(Buffer.from('hi'), { metadata: forged });
  const xfcc = app.seen.metadata.get('x-forwarded-client-cert');
  t.equal(xfcc.length, 1);
  t.match(String(xfcc[0]), `URI=${spiffeIdOf('web')}`, 'I1: the identity is the word of the sidecar');
  t.same(app.seen.metadata.get('x-custom'), ['kept']);

  const denied = await client.unary('/demo.Echo/Secret', Buffer.from('x'));
  t.match(
    denied.error,
    { code: status.PERMISSION_DENIED, details: /^SL-AUTHZ-002: / },
    'a rule of allow, as gRPC says it',
  );

  t.equal(await web.metric('sidelock_http_upstreams'), 1, 'all of it went over one mTLS connection');
  t.ok(
    (await web.metric('sidelock_requests_total{direction="outbound",listener="out",method="POST",code_class="2xx"}')) >=
      4,
  );
  t.match(
    web.lines.find((line) => line['event'] === 'request'),
    { method: 'POST', path: '/demo.Echo/Say', status: 200, direction: 'outbound' },
  );
});

t.test('a gRPC client with mTLS of its own, and a server with mTLS of its own', async (t) => {
  const authority = testAuthority();
  const app = await startGrpcServer(t);
  const target = { host: '127.0.0.1', port: app.port };
  const inbound = { target, allow: ['web'] };
  const orders = await startNode(t, { service: 'orders', authority, protocol: 'http2', inbound });
  await everyKindOfCall(t, grpcClient(t, orders.mtls.port, grpcClientTls(authority.issue('web'))), app.seen);

  const foreign = await startGrpcServer(t, grpcServerTls(authority.issue('orders')));
  const outbound = { service: 'orders', address: { host: '127.0.0.1', port: foreign.port } };
  const web = await startNode(t, { service: 'web', authority, protocol: 'http2', outbound });
  await everyKindOfCall(t, grpcClient(t, web.local.port), foreign.seen);
});
