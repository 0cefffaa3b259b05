import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import t from 'tap';
import { listen } from '../../../src/base/listen.ts';
import { remoteName } from '../../../src/sidecar/dial.ts';
import { kernelQueues } from '../../../src/sidecar/kernel-queues.ts';
import { until } from '../../support/until.ts';

for (const host of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
  t.test(`what a reader leaves is found by the address of the other side, ${host}`, async (t) => {
    const server = createServer({ pauseOnConnect: true });
    const { port } = await listen(server, { host, port: 0 }, 'a server');
    const accepted = once(server, 'connection');
    const dialled = connect({ port, host });
    const [socket]: Socket[] = await accepted;
    if (socket === undefined) throw new Error('nobody connected');
    t.teardown(() => {
      for (const one of [server, dialled, socket]) 'destroy' in one ? one.destroy() : one.close();
    });
    t.equal(kernelQueues().get(remoteName(socket)), undefined, 'nothing waits');
    dialled.write(Buffer.alloc(10_000));
    await until(() => kernelQueues().get(remoteName(socket)) === 10_000);
    socket.resume();
    await until(() => kernelQueues().get(remoteName(socket)) === undefined);
  });
}
