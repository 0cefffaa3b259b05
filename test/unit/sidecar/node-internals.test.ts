import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import t from 'tap';
import { rawSocket, readPath, useUserBuffers } from '../../../src/sidecar/node-internals.ts';

t.test('the Node that the project pins has every inside part that is used', async (t) => {
  t.equal(readPath(), 'user-buffers', 'findSymbols found all three');
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a TCP port was expected');
  const accepted = once(server, 'connection');
  const client = connect(address.port, '127.0.0.1');
  const [socket] = await accepted;
  const memory = Buffer.alloc(16);
  const arrived = new Promise<string>((resolve) => {
    const used = useUserBuffers(socket, {
      space: () => memory,
      filled: (n) => {
        resolve(memory.toString('latin1', 0, n));
        return true;
      },
    });
    t.equal(used, true, 'an accepted socket reads into memory of ours');
  });
  socket.resume();
  client.end('hello');
  t.equal(await arrived, 'hello');
  t.equal(rawSocket(socket), socket);
  socket.destroy();
});
