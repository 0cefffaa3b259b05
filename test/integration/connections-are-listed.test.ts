import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { fetch, ProxyAgent } from 'undici';
import type { ShownConnection } from '../../src/sidecar/connections.ts';
import { spiffeIdOf } from '../support/identity-files.ts';
import { ANY } from '../support/manager/sidecar.ts';
import { openAll } from '../support/open-all.ts';

type Shown = ShownConnection & { readonly worker?: number };

for (const [streams, workers] of [
  [true, 1],
  [false, 1],
  [true, 2],
] as const) {
  t.test(
    `what is open in each protocol, with who is at both ends; streams ${streams}, workers ${workers}`,
    async (t) => {
      const { orders, web, plain, tcp, http2 } = await openAll(t, { streams, workers });
      const without = await plain();
      const listed = async ({ sidecar }: typeof orders): Promise<Shown[]> => {
        const { host, port } = sidecar.admin ?? ANY;
        return (await (await fetch(`http://${host}:${port}/connections`)).json()) as Shown[];
      };
      const kind = streams ? 'shared' : 'own';
      const [ours, theirs] = [spiffeIdOf('orders'), spiffeIdOf('web')];
      const certificates = {
        self: { id: ours, serial: orders.sidecar.identity()?.serial, generation: 1 },
        peer: { id: theirs, serial: web.sidecar.identity()?.serial },
        tls: { version: 'TLSv1.3' },
      };
      const inbound = await listed(orders);
      const of = (listener: string) => inbound.filter((one) => one.listener === listener);
      t.match(of('tcp'), [{ direction: 'inbound', kind, ...certificates, local: /:\d+$/, received: 4, sent: 4 }]);
      const http = of('http').length;
      t.ok(http === 2 || (http === 3 && workers === 2), 'each thread keeps its own');
      for (const one of of('http')) t.match(one, { direction: 'inbound', kind, ...certificates });
      t.match(of('http2'), [{ direction: 'inbound', kind: 'own', ...certificates }]);
      const [open] = of('both');
      t.match(open, { plaintext: true, peer: { address: `127.0.0.1:${without.localPort}`, id: '', serial: '' } });
      t.equal(open?.tls, undefined);
      t.equal(inbound.length, http + 3);

      const outbound = await listed(web);
      t.match(
        outbound.find(({ listener }) => listener === 'tcp'),
        { direction: 'outbound', kind, self: certificates.peer, peer: { id: ours, serial: certificates.self.serial } },
      );
      t.strictSame(outbound.map(({ listener }) => listener).sort(), ['http', 'http', 'http', 'http2', 'tcp']);
      for (const all of [inbound, outbound]) {
        t.strictSame([...new Set(all.map(({ worker }) => worker === undefined))], [workers === 1]);
      }
      without.destroy();

      if (workers === 1) return;
      // So many that each thread has some.
      const sessions = Array.from({ length: 12 }, () => connectHttp2(`http://127.0.0.1:${http2}`));
      t.teardown(() => {
        for (const session of sessions) session.destroy();
      });
      await Promise.all(
        sessions.map(async (session) => {
          const [headers] = await once(session.request({ ':path': '/' }), 'response');
          t.equal(headers[':status'], 200);
        }),
      );
      const { port = 0 } = web.sidecar.forwardProxy ?? {};
      for (const proxyTunnel of [false, true]) {
        const all = Array.from({ length: 8 }, async () => {
          const dispatcher = new ProxyAgent({ uri: `http://127.0.0.1:${port}`, proxyTunnel });
          t.teardown(() => dispatcher.destroy());
          t.equal(await (await fetch('http://http/', { dispatcher })).text(), 'hello', 'by the forward proxy');
        });
        await Promise.all(all);
      }
      const more = await Promise.all(Array.from({ length: 12 }, () => dialled(tcp)));
      const now = await listed(web);
      t.strictSame([...new Set(now.map(({ worker }) => worker))].sort(), [1, 2]);
      t.equal(now.filter(({ listener }) => listener === 'http2').length, 13);
      t.equal(now.filter(({ listener }) => listener === 'tcp').length, 13);
      for (const socket of more) socket.destroy();
    },
  );
}

async function dialled(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  socket.write('ping');
  await once(socket, 'data');
  return socket;
}
