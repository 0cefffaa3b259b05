import { connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import { listen } from '../../../src/base/listen.ts';

type Way = 'none' | 'both' | 'back';

/** A network between two that can be cut: nothing is closed, what is sent does not arrive. */
interface Network {
  readonly port: number;
  /** `back`: what the one who was called sends is lost, as with a firewall of one side. */
  cut(way: Way): void;
}

/** Leads to a port of this machine. What is lost while it is cut comes when it is not, as TCP sends it again. */
export async function startNetwork(t: Test, to: number): Promise<Network> {
  let cut: Way = 'none';
  const pairs = new Set<readonly [Socket, Socket]>();
  const apply = ([near, far]: readonly [Socket, Socket]) => {
    if (cut === 'both') near.pause();
    else near.resume();
    if (cut === 'none') far.resume();
    else far.pause();
  };
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: to, host: '127.0.0.1', allowHalfOpen: true });
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, into] of [pair, [far, near] as const]) {
      from.on('error', () => {});
      from.on('data', (chunk) => into.write(chunk));
      from.once('end', () => into.end());
      from.once('close', () => {
        pairs.delete(pair);
        into.destroy();
      });
    }
    apply(pair);
  });
  t.teardown(() => {
    server.close();
    for (const [near, far] of pairs) {
      near.destroy();
      far.destroy();
    }
  });
  const { port } = await listen(server, { host: '127.0.0.1', port: 0 }, 'the network');
  return {
    port,
    cut(way) {
      cut = way;
      for (const pair of pairs) apply(pair);
    },
  };
}
