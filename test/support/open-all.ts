import { type EventEmitter, once } from 'node:events';
import { Agent, createServer, get } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { connect } from 'node:net';
import type { Test } from 'tap';
import { listen } from '../../src/base/listen.ts';
import { startRig } from './manager/rig.ts';
import { ANY, startEnrolled } from './manager/sidecar.ts';
import { echo, readAll, startApp } from './mesh.ts';
import { SWITCHED, UPGRADE } from './web-socket.ts';

/** Names of the listeners of both sidecars: what each speaks. */
export const LISTENERS = ['tcp', 'http', 'http2'] as const;

export type Opened = Awaited<ReturnType<typeof openAll>>;

/** Something open from web to orders in each protocol; `ends` has when the client side of it ended. */
export async function openAll(t: Test, { streams, workers }: { streams: boolean; workers: number }) {
  const rig = await startRig(t);
  const app = createServer((request, response) => {
    if (request.url === '/endless') response.write('begun');
    else response.end('hello');
  });
  const sessions = new Set<{ destroy(): void }>();
  app.on('upgrade', (_, socket) => {
    sessions.add(socket);
    socket.on('error', () => {}).write(SWITCHED);
  });
  const app2 = createHttp2Server().on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200 });
    stream.write('begun');
  });
  app2.on('session', (session) => void sessions.add(session));
  const targets = {
    tcp: await startApp(t, echo),
    http: (await listen(app, ANY, 'the app')).port,
    http2: (await listen(app2, ANY, 'the app')).port,
  };
  t.teardown(() => {
    for (const server of [app, app2]) server.close();
    app.closeAllConnections();
    for (const session of sessions) session.destroy();
  });
  const inbound = LISTENERS.map((protocol) => {
    const target = { host: '127.0.0.1', port: targets[protocol] };
    return { name: protocol, listen: ANY, target, protocol, allow: ['web'] } as const;
  });
  const target = { host: '127.0.0.1', port: targets.tcp };
  const both = { name: 'both', listen: ANY, target, protocol: 'tcp', allow: ['web'], mode: 'permissive' } as const;
  const orders = await startEnrolled(t, rig, 'orders', { inbound: [...inbound, both], streams, workers, admin: ANY });
  const outbound = LISTENERS.map((protocol, i) => {
    const address = { host: '127.0.0.1', port: orders.sidecar.inbound[i]?.address.port ?? 0 };
    return { name: protocol, listen: ANY, service: 'orders', address, protocol, expect: [] } as const;
  });
  const web = await startEnrolled(t, rig, 'web', { outbound, streams, workers, admin: ANY, forwardProxy: ANY });
  const [tcp = 0, http = 0, http2 = 0] = web.sidecar.outbound.map(({ address }) => address.port);

  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const ask = async () => {
    const [response] = await once(get({ port: http, host: '127.0.0.1', agent }), 'response');
    return `${response.statusCode} ${await readAll(response)}`;
  };
  t.equal(await ask(), '200 hello');
  const asked = get({ port: http, host: '127.0.0.1', path: '/endless', agent: false }).on('error', () => {});
  t.teardown(() => asked.destroy());
  const [endless] = await once(asked, 'response');
  await once(
    endless.on('error', () => {}),
    'data',
  );
  const dial = async (port: number, text: string) => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    t.teardown(() => socket.destroy());
    socket.write(text);
    await once(socket, 'data');
    return socket;
  };
  const session = connectHttp2(`http://127.0.0.1:${http2}`).on('error', () => {});
  t.teardown(() => session.destroy());
  const stream = session.request({ ':path': '/' }).on('error', () => {});
  await once(stream, 'data');
  const over = (what: EventEmitter) => new Promise((resolve) => what.once('close', resolve));
  const plain = () => dial(orders.sidecar.inbound[LISTENERS.length]?.address.port ?? 0, 'ping');
  const ends = {
    tcp: over(await dial(tcp, 'ping')),
    request: over(endless),
    websocket: over(await dial(http, UPGRADE)),
    http2: over(stream),
  };
  return { rig, orders, web, ends, ask, plain, tcp, http, http2 };
}
