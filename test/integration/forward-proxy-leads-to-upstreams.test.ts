import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { fetch, ProxyAgent } from 'undici';
import { testAuthority } from '../support/identity-files.ts';
import { startApp, startNode } from '../support/mesh.ts';
import { requireProgram } from '../support/programs.ts';
import { run } from '../support/servers.ts';
import { until } from '../support/until.ts';

interface Asked {
  readonly app: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

/** `orders` by HTTP and `stock` by TCP, behind one forward proxy of `web`. */
async function startProxy(t: Test) {
  const authority = testAuthority();
  const asked: Asked[] = [];
  const start = async (app: string, protocol: 'http' | 'tcp') => {
    const server = createServer((request, response) => {
      asked.push({ app, url: request.url ?? '', headers: request.headers });
      response.setHeader('proxy-authenticate', 'Basic');
      request.resume().once('end', () => response.end(app));
    });
    const port = await startApp(t, (socket) => void server.emit('connection', socket));
    const inbound = { target: { host: '127.0.0.1', port }, allow: ['web'] };
    return (await startNode(t, { service: 'orders', authority, protocol, inbound })).mtls;
  };
  const [orders, stock] = [await start('orders', 'http'), await start('stock', 'tcp')];
  const web = await startNode(t, {
    service: 'web',
    authority,
    proxied: [
      { name: 'orders', address: orders, protocol: 'http' },
      { name: 'stock', address: stock, protocol: 'tcp' },
    ],
  });
  const port = web.sidecar.forwardProxy?.port ?? 0;
  /** All that comes back for these bytes, until the other side ends. */
  const raw = async (...pieces: string[]): Promise<string> => {
    const socket = connect({ port, host: '127.0.0.1' });
    let answer = '';
    socket.setEncoding('latin1').on('data', (text) => {
      answer += text;
    });
    socket.on('error', () => {});
    for (const piece of pieces) socket.write(piece, 'latin1');
    await once(socket, 'close');
    return answer;
  };
  return { web, asked, port, raw, url: `http://127.0.0.1:${port}` };
}

t.test('curl and undici reach each upstream by its name, in absolute form and by CONNECT', async (t) => {
  const { web, asked, url } = await startProxy(t);
  const curl = requireProgram(t, 'curl');
  for (const name of ['orders', 'stock']) {
    for (const proxyTunnel of [false, true]) {
      const dispatcher = new ProxyAgent({ uri: url, proxyTunnel });
      for (const path of ['/a?b=c', '/d']) {
        const answer = await fetch(`http://${name}${path}`, { dispatcher, method: 'POST', body: 'x' });
        t.equal(await answer.text(), name);
        t.notOk(answer.headers.has('proxy-authenticate') && !proxyTunnel);
        t.match(asked.at(-1), { app: name, url: path, headers: { host: name } });
      }
      await dispatcher.close();
      if (curl === undefined) continue;
      const flags = ['-s', '-x', url, '--proxy-user', 'a:b', ...(proxyTunnel ? ['-p'] : [])];
      const { stdout } = await run(curl, [...flags, `http://${name}:8080/e`, `http://${name.toUpperCase()}/f`]);
      t.equal(stdout, name.repeat(2));
    }
  }
  for (const { headers } of asked) {
    t.same(
      Object.keys(headers).filter((field) => field.startsWith('proxy-')),
      [],
    );
  }
  t.ok((await web.metric('sidelock_requests_total{direction="outbound",listener="orders"')) >= 8);
});

t.test('whoever is no upstream is refused, and not told who is', async (t) => {
  const { web, asked, raw } = await startProxy(t);
  const rows: Array<[name: string, request: string, status: number, reason: string]> = [
    ['another host', 'GET http://example.com/ HTTP/1.1\r\nhost: orders\r\n\r\n', 403, 'unknown_upstream'],
    ['an address', 'GET http://127.0.0.1/ HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n', 403, 'unknown_upstream'],
    ['a longer name', 'GET http://orders.evil.test/ HTTP/1.1\r\nhost: x\r\n\r\n', 403, 'unknown_upstream'],
    ['CONNECT elsewhere', 'CONNECT example.com:443 HTTP/1.1\r\nhost: orders:443\r\n\r\n', 403, 'unknown_upstream'],
    ['a request as to a server', 'GET / HTTP/1.1\r\nhost: orders\r\n\r\n', 400, 'not_proxied'],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nhost: orders\r\n\r\n', 400, 'not_proxied'],
    ['another scheme', 'GET https://orders/ HTTP/1.1\r\nhost: orders\r\n\r\n', 400, 'bad_target'],
    ['userinfo', 'GET http://orders@evil/ HTTP/1.1\r\nhost: orders\r\n\r\n', 400, 'bad_target'],
    ['CONNECT without a port', 'CONNECT orders HTTP/1.1\r\nhost: orders\r\n\r\n', 400, 'bad_target'],
    ['CONNECT with a path', 'CONNECT orders:1/x HTTP/1.1\r\nhost: orders\r\n\r\n', 400, 'bad_target'],
    ['CONNECT without Host', 'CONNECT orders:1 HTTP/1.1\r\n\r\n', 400, 'missing_host'],
    [
      'H13 CONNECT with a body',
      'CONNECT orders:1 HTTP/1.1\r\nhost: orders:1\r\ncontent-length: 0\r\n\r\n',
      405,
      'connect',
    ],
    [
      'length and encoding',
      'POST http://orders/ HTTP/1.1\r\nhost: orders\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'length_and_encoding',
    ],
    [
      'length and encoding of a CONNECT',
      'CONNECT orders:1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'length_and_encoding',
    ],
    ['a bare LF', 'CONNECT orders:1 HTTP/1.1\nhost: orders:1\r\n\r\n', 400, 'bare_lf'],
  ];
  for (const [name, request, status, reason] of rows) {
    const closing = request.replace('host:', 'connection: close\r\nhost:');
    // What comes behind a refused one is nobody's request.
    const answer = await raw(`${closing}GET http://orders/smuggled HTTP/1.1\r\nhost: orders\r\n\r\n`);
    t.match(answer, new RegExp(`^HTTP/1.1 ${status} [^]*x-sidelock-reason: ${reason}\r\n`), name);
    t.notMatch(answer, /stock/, `${name}: no names`);
    t.equal(answer.split('HTTP/1.1 ').length, 2, `${name}: one answer`);
  }
  t.same(asked, []);
  t.match(web.events('forward_refused')[0], { code: 'SL-FWD-001', reason: 'unknown_upstream', host: 'example.com' });
});

t.test(
  'requests of one connection go each to its own upstream, and the Host of the client does not count',
  async (t) => {
    const { asked, raw } = await startProxy(t);
    const get = (name: string, path: string, more = '') =>
      `GET http://${name}${path} HTTP/1.1\r\nhost: evil\r\nproxy-authorization: Basic x\r\nproxy-connection: keep-alive\r\n${more}\r\n`;
    const answer = await raw(
      get('orders', '/1') + get('stock', '/2') + get('nobody', '/3') + get('orders', '/4', 'connection: close\r\n'),
    );
    t.strictSame(
      answer.match(/HTTP\/1.1 \d+/g)?.map((line) => line.slice(9)),
      ['200', '200', '403', '200'],
    );
    t.match(asked, [
      { app: 'orders', url: '/1', headers: { host: 'orders' } },
      { app: 'stock', url: '/2', headers: { host: 'stock' } },
      { app: 'orders', url: '/4', headers: { host: 'orders' } },
    ]);
    t.match(
      await raw(get('orders', '/'), 'CONNECT stock:1 HTTP/1.1\r\nhost: stock:1\r\n\r\nGET / HTTP/1.1\r\n'),
      /^HTTP\/1.1 200 [\s\S]*HTTP\/1.1 405 /,
      'a CONNECT behind another request is refused',
    );
  },
);

t.test('H13 what a client sends behind its CONNECT waits for our 200, and is dropped without one', async (t) => {
  const { asked, raw, web } = await startProxy(t);
  const inner = 'GET /early HTTP/1.1\r\nhost: inner\r\nconnection: close\r\n\r\n';
  for (const name of ['orders', 'stock']) {
    const answer = await raw(`CONNECT ${name}:80 HTTP/1.1\r\nhost: ${name}:80\r\n\r\n${inner}`);
    t.match(answer, new RegExp(`^HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n[^]*${name}`));
    t.match(asked.at(-1), { app: name, url: '/early' });
  }
  const count = asked.length;
  const split = [...'CONNECT stock:80 HTTP/1.1\r\nhost: stock:80\r\n\r\n'];
  t.match(await raw(...split, inner), /^HTTP\/1.1 200 Connection established\r\n\r\nHTTP\/1.1 200 OK/, 'byte by byte');
  t.equal(asked.length, count + 1);
  t.match(await raw(`CONNECT nobody:80 HTTP/1.1\r\nhost: nobody:80\r\n\r\n${inner}`), /^HTTP\/1.1 403 /);
  t.equal(asked.length, count + 1);
  await until(() => web.sidecar.connections().length === 0);
});

t.test('an upstream that is not there is told to who CONNECTs', async (t) => {
  const web = await startNode(t, {
    service: 'web',
    authority: testAuthority(),
    proxied: [{ name: 'orders', address: { host: '127.0.0.1', port: 1 }, protocol: 'tcp' }],
  });
  const socket = connect({ port: web.sidecar.forwardProxy?.port ?? 0, host: '127.0.0.1' });
  socket.write('CONNECT orders:443 HTTP/1.1\r\nhost: orders:443\r\n\r\n');
  const [answer] = await once(socket, 'data');
  t.match(String(answer), /^HTTP\/1.1 503 [\s\S]*x-sidelock-reason: unreachable\r\nx-sidelock-code: SL-UP-001\r\n/);
});

t.test('the forward proxy is for this machine only', async (t) => {
  const proxied = [{ name: 'orders', address: { host: '127.0.0.1', port: 1 }, protocol: 'tcp' }] as const;
  const forwardHost = '0.0.0.0';
  await t.rejects(startNode(t, { service: 'web', authority: testAuthority(), proxied, forwardHost }), {
    code: 'SL-CFG-003',
  });
});
