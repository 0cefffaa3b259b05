import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import type { Test } from 'tap';
import { countBytes, echoMessages } from '../small-apps.ts';

/** A small web app: a page that tries what pages do, an upload, events, a WebSocket that echoes. */
export async function startWebApp(t: Test): Promise<number> {
  const server = createServer(answer);
  const sockets = echoMessages(server);
  t.teardown(() => sockets.close());
  return await portOf(t, server);
}

/** Says what it got, over HTTP/2 without TLS. */
export async function startHttp2App(t: Test): Promise<number> {
  const server = createHttp2Server((request, response) => {
    countBytes(request, (bytes) => response.end(`${request.method} ${request.url} ${bytes} bytes`));
  });
  server.on('session', (session) => t.teardown(() => session.destroy()));
  return await portOf(t, server);
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === '/page') {
    response.setHeader('content-type', 'text/html');
    response.end(PAGE);
    return;
  }
  if (request.url === '/events') {
    response.setHeader('content-type', 'text/event-stream');
    response.write('data: one\n\n');
    setImmediate(() => response.write('data: two\n\n'));
    return;
  }
  countBytes(request, (bytes) => response.end(`${request.method} ${request.url} ${bytes} bytes`));
}

/** Its title says what came of it. */
const PAGE = `<!doctype html><title>waiting</title><script>
const text = async (...request) => (await fetch(...request)).text();
const events = new Promise((resolve) => {
  const source = new EventSource('/events');
  const seen = [];
  source.onmessage = ({ data }) => { if (seen.push(data) === 2) { source.close(); resolve(seen.join(' ')); } };
});
const echo = new Promise((resolve, reject) => {
  const socket = new WebSocket('ws://' + location.host + '/chat');
  socket.onopen = () => socket.send('hello');
  socket.onmessage = ({ data }) => { socket.close(); resolve(data); };
  socket.onerror = reject;
});
const many = Promise.all(Array.from({ length: 40 }, (_, i) => text('/many/' + i)));
Promise.all([text('/up', { method: 'POST', body: 'x'.repeat(100000) }), events, echo, many]).then(
  ([up, seen, said, all]) => { document.title = [up, seen, said, all.length].join(', '); },
  (error) => { document.title = String(error); },
);
</script>`;
/** Of a page whose every part worked. */
export const PAGE_WORKED = 'POST /up 100000 bytes, one two, hello, 40';

async function portOf(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function')
      server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}
