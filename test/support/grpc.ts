import { once } from 'node:events';
import {
  type ChannelCredentials,
  type Client,
  credentials,
  Server as GrpcServer,
  type handleBidiStreamingCall,
  type handleUnaryCall,
  Metadata,
  makeGenericClientConstructor,
  ServerCredentials,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import type { Test } from 'tap';
import type { Trio } from './identity-files.ts';
import { until } from './until.ts';

const bytes = (data: Buffer) => data;
const method = (path: string, streaming: boolean) => ({
  path,
  requestStream: streaming,
  responseStream: streaming,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
const SERVICE = {
  Say: method('/demo.Echo/Say', false),
  Chat: method('/demo.Echo/Chat', true),
  Never: method('/demo.Echo/Never', false),
};

/** An echo server until the end of the test: unary (empty is an error), a stream both ways, and what never answers. */
export async function startGrpcServer(t: Test, trust: ServerCredentials = ServerCredentials.createInsecure()) {
  const seen = { metadata: new Metadata(), open: 0, cancelled: 0 };
  const say: handleUnaryCall<Buffer, Buffer> = (call, done) => {
    seen.metadata = call.metadata;
    const trailers = new Metadata();
    trailers.set('x-length', String(call.request.length));
    if (call.request.length === 0) done({ code: status.INVALID_ARGUMENT, details: 'empty' }, null, trailers);
    else done(null, call.request, trailers);
  };
  const chat: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
    call.on('data', (message: Buffer) => call.write(message));
    call.once('end', () => call.end());
  };
  const never: handleUnaryCall<Buffer, Buffer> = (call) => {
    seen.open++;
    call.once('cancelled', () => seen.cancelled++);
  };
  const server = new GrpcServer();
  server.addService(SERVICE, { Say: say, Chat: chat, Never: never });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', trust, (error, to) => (error === null ? resolve(to) : reject(error)));
  });
  t.teardown(() => server.forceShutdown());
  return { port, seen };
}

export interface GrpcAnswer {
  readonly error: ServiceError | null;
  readonly answer: Buffer | undefined;
  readonly trailers: Metadata | undefined;
}

/** A client of the echo server, on a connection of its own. */
export function grpcClient(t: Test, port: number, channel: ChannelCredentials = credentials.createInsecure()) {
  const Constructor = makeGenericClientConstructor(SERVICE, 'Echo');
  const client: Client = new Constructor(`127.0.0.1:${port}`, channel, {
    'grpc.ssl_target_name_override': 'orders.ai-teddy.local',
    'grpc.use_local_subchannel_pool': 1,
  });
  t.teardown(() => client.close());
  const unary = (path: string, message: Buffer, { deadlineMs = 20_000, metadata = new Metadata() } = {}) =>
    new Promise<GrpcAnswer>((resolve) => {
      let trailers: Metadata | undefined;
      const options = { deadline: Date.now() + deadlineMs };
      const call = client.makeUnaryRequest(path, bytes, bytes, message, metadata, options, (error, answer) =>
        setImmediate(() => resolve({ error, answer, trailers })),
      );
      call.once('status', (s) => {
        trailers = s.metadata;
      });
    });
  return {
    say: (message: Buffer, options: { deadlineMs?: number; metadata?: Metadata } = {}) =>
      unary(SERVICE.Say.path, message, options),
    never: (deadlineMs: number) => unary(SERVICE.Never.path, Buffer.from('x'), { deadlineMs }),
    chat: () => client.makeBidiStreamRequest(SERVICE.Chat.path, bytes, bytes),
    unary,
  };
}

/** mTLS of a gRPC client, or of a server, that knows nothing of sidelock. */
export function grpcClientTls({ cert, key, ca }: Trio): ChannelCredentials {
  return credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(cert));
}

export function grpcServerTls({ cert, key, ca }: Trio): ServerCredentials {
  const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) };
  return ServerCredentials.createSsl(Buffer.from(ca), [pair], true);
}

/** Unary with trailers and an error, a stream both ways, and a call that is given up: all arrive as what they are. */
export async function everyKindOfCall(t: Test, client: ReturnType<typeof grpcClient>, seen: { cancelled: number }) {
  const good = await client.say(Buffer.from('hello'));
  t.equal(good.error, null);
  t.equal(String(good.answer), 'hello');
  t.same(good.trailers?.get('x-length'), ['5'], 'trailers arrive');
  t.match((await client.say(Buffer.alloc(0))).error, { code: status.INVALID_ARGUMENT, details: 'empty' });

  await echoesAStream(t, client);

  t.match((await client.never(300)).error, { code: status.DEADLINE_EXCEEDED });
  await until(() => seen.cancelled > 0);
  t.pass('the app sees that the caller gave up');
}

/** A megabyte as messages one way, while they come back the other way. */
export async function echoesAStream(t: Test, client: ReturnType<typeof grpcClient>) {
  const chat = client.chat();
  let received = 0;
  chat.on('data', (message: Buffer) => {
    received += message.length;
  });
  for (let i = 0; i < 50; i++) chat.write(Buffer.alloc(20_000, i));
  chat.end();
  const [end] = await once(chat, 'status');
  t.equal(end.code, status.OK);
  t.equal(received, 1_000_000, 'a stream both ways');
}
