/** gRPC by mTLS without a sidecar: @grpc/grpc-js takes certificates from a provider that is kept current. */
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client, experimental, Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { createIdentity } from '../../src/index.ts';
import { certificateProvider, checkServerIdentity, peerOfCall } from '../../src/library/grpc.ts';
import { testPki } from '../../src/library/testing.ts';

const pki = await testPki();
const directory = await mkdtemp('certificates-');
for (const service of ['web', 'batch', 'orders']) await pki.write(join(directory, service), service);
const identityOf = (service: string) => createIdentity({ source: 'files', directory: join(directory, service) });

// Server side
await using orders = await identityOf('orders');
const caller = peerOfCall(orders, { allow: ['web'] });
const server = new Server();
server.addService(
  { hello: { path: '/demo/hello', requestStream: false, responseStream: false, ...bytes() } },
  {
    hello(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      try {
        done(null, Buffer.from(`hello ${caller(call).service}`));
      } catch (error) {
        done(error as Error);
      }
    },
  },
);
const ours = certificateProvider(orders);
const port = await promisify(server.bindAsync.bind(server))(
  '127.0.0.1:0',
  experimental.createCertificateProviderServerCredentials(ours, ours, true),
);

// Client side
for (const service of ['web', 'batch']) {
  await using identity = await identityOf(service);
  const provider = certificateProvider(identity);
  const credentials = experimental.createCertificateProviderChannelCredentials(provider, provider, {
    checkServerIdentity: checkServerIdentity(identity, { expect: 'orders' }),
  });
  using client = Object.assign(
    new Client(`127.0.0.1:${port}`, credentials, { 'grpc.ssl_target_name_override': 'orders' }),
    {
      [Symbol.dispose]: () => client.close(),
    },
  );
  const { request, answer } = { request: (text: Buffer) => text, answer: (text: Buffer) => text };
  await new Promise<void>((done) => {
    client.makeUnaryRequest('/demo/hello', request, answer, Buffer.alloc(0), (error, value) => {
      console.log(error === null ? String(value) : `${service}: ${error.code} ${error.details}`);
      done();
    });
  });
}
server.forceShutdown();

function bytes() {
  const same = (value: Buffer) => value;
  return { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
}
