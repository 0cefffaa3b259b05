import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { WebSocket } from 'ws';
import { listen } from '../../src/base/listen.ts';
import { echo } from './mesh.ts';
import { countBytes, echoMessages } from './small-apps.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };

/** An app that answers HTTP with how many bytes it got, and echoes the messages of WebSockets. */
export async function startMixedApp(t: Test): Promise<number> {
  // One upload lasts as long as the load: longer than the five minutes that a request may take otherwise.
  const app = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (incoming: IncomingMessage, response) => {
    countBytes(incoming, (bytes) => response.end(String(bytes)));
  });
  const sockets = echoMessages(app);
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate();
    app.close();
    app.closeAllConnections();
  });
  return (await listen(app, LOOPBACK, 'the app')).port;
}

/** An app that sends back what it gets. */
export async function startEchoApp(t: Test): Promise<number> {
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    // Sidecars are killed with the test.
    socket.on('error', () => {});
    echo(socket);
  });
  t.teardown(() => server.close());
  return (await listen(server, LOOPBACK, 'the app')).port;
}

/**
 * Until stopped: requests on kept connections, one WebSocket and one TCP connection that stay open and exchange a
 * message every few ms, and one upload that lasts as long. Every answer is compared; what failed is in `failures`.
 */
export async function startMixedLoad(httpPort: number, tcpPort: number) {
  const failures: string[] = [];
  let stopped = false;
  const done = { requests: 0, messages: 0, echoes: 0, uploaded: 0 };
  const fail = (who: string) => (error: unknown) => {
    if (!stopped) failures.push(`${who}: ${error}`);
  };

  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const get = async () => {
    const sent = request({ port: httpPort, host: '127.0.0.1', agent }).end();
    const [response]: [IncomingMessage] = (await once(sent, 'response')) as [IncomingMessage];
    let body = '';
    for await (const chunk of response) body += chunk;
    if (response.statusCode !== 200 || body !== '0') throw new Error(`${response.statusCode} ${body}`);
    done.requests++;
  };
  const requests = Array.from({ length: 4 }, async () => {
    while (!stopped) {
      await get().catch(fail('request'));
      await delay(1);
    }
  });

  const socket = new WebSocket(`ws://127.0.0.1:${httpPort}/`);
  await once(socket, 'open');
  socket.once('close', () => fail('WebSocket')('closed'));
  socket.on('error', fail('WebSocket'));
  const messages = (async () => {
    for (let i = 0; !stopped && socket.readyState === WebSocket.OPEN; i++) {
      socket.send(`message ${i}`);
      const [answer] = await once(socket, 'message');
      if (String(answer) !== `message ${i}`) fail('WebSocket')(`${answer} instead of ${i}`);
      done.messages++;
      await delay(5);
    }
  })().catch(fail('WebSocket'));

  const stream = connect({ port: tcpPort, host: '127.0.0.1' });
  stream.once('close', () => fail('TCP')('closed'));
  stream.on('error', fail('TCP'));
  await once(stream, 'connect');
  const echoes = (async () => {
    for (let i = 0; !stopped; i++) {
      const sent = Buffer.alloc(4_000, i);
      stream.write(sent);
      let answer = Buffer.alloc(0);
      while (answer.length < sent.length) answer = Buffer.concat([answer, (await once(stream, 'data'))[0]]);
      if (!answer.equals(sent)) fail('TCP')(`answer ${i} differs`);
      done.echoes++;
      await delay(5);
    }
  })().catch(fail('TCP'));

  const upload = (async () => {
    const sent = request({ port: httpPort, host: '127.0.0.1', method: 'POST', agent: false });
    const answered = once(sent, 'response');
    answered.catch(() => {});
    while (!stopped) {
      if (!sent.write(Buffer.alloc(10_000))) await once(sent, 'drain');
      done.uploaded += 10_000;
      await delay(20);
    }
    sent.end();
    const [response] = (await answered) as [IncomingMessage];
    let body = '';
    for await (const chunk of response) body += chunk;
    if (Number(body) !== done.uploaded) failures.push(`upload: the app got ${body} of ${done.uploaded} bytes`);
  })().catch((error) => failures.push(`upload: ${error}`));

  return {
    done,
    async stop() {
      stopped = true;
      await Promise.all([...requests, messages, echoes, upload]);
      agent.destroy();
      socket.terminate();
      stream.destroy();
      return { ...done, failures };
    },
  };
}
