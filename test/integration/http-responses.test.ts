import type { Socket } from 'node:net';
import t from 'tap';
import { RESPONSES, type ResponseRow } from '../support/http-corpus.ts';
import { echoTarget, type RawClient, type RawResponse, startHttp, unchunk } from '../support/http-rig.ts';

for (const [direction, cut] of [
  ['inbound', false],
  ['inbound', true],
  ['outbound', false],
  ['outbound', true],
] as const) {
  t.test(
    `${direction}, ${cut ? 'in two writes' : 'whole'}: every response row, and a canary behind it on the same and on another connection`,
    async (t) => {
      let row: ResponseRow | undefined;
      let used: Socket | undefined;
      const rig = await startHttp(t, {
        answer: (request, { socket }) => {
          if (row === undefined || !request.head.includes(' /row ')) return echoTarget(request);
          used = socket;
          const { bytes, close } = row;
          const at = cut ? Math.max(1, bytes.length - 9) : bytes.length;
          socket.write(bytes.slice(0, at), 'latin1');
          const rest = () => {
            if (!socket.destroyed && at < bytes.length) socket.write(bytes.slice(at), 'latin1');
            if (close === true) socket.end();
          };
          if (cut) setTimeout(rest, 2);
          else rest();
          return undefined;
        },
      });
      for (row of RESPONSES) {
        const { id, what, bytes, method = 'GET', want } = row;
        const name = `${id} ${what} ${JSON.stringify(bytes.slice(0, 60))}`;
        const client = await rig[direction]();
        client.send(`${method} /row HTTP/1.1\r\nHost: a\r\n\r\n`);
        if ('fault' in want) {
          const response = await client.response(method);
          // Once a head went on, the only honest answer is a broken connection.
          const begun = want.fault === 'cut' && bytes.includes('\r\n\r\n');
          t.equal(response?.status, begun ? undefined : 502, name);
        } else {
          t.strictSame(await responsesOf(client, method), want.forward + unchunked(want), name);
          if (want.reusable) t.equal(used?.destroyed, false, `${id}: its connection is kept`);
          else await gone(used);
        }
        await canary(client, name, t);
        await canary(await rig[direction](), name, t);
        client.socket.destroy();
      }
      t.comment(`${RESPONSES.length} rows`);
    },
  );
}

/** All responses to one request, interim ones too, as the corpus writes them. */
async function responsesOf(client: RawClient, method: string): Promise<string> {
  let text = '';
  for (;;) {
    const response = await client.response(method);
    if (response === undefined) return text;
    text += response.status < 200 ? response.head : response.head.slice(0, -2);
    if (response.status >= 200) return text + unchunked(response);
  }
}

function unchunked({ body = '', ...rest }: Partial<RawResponse> | { forward: string; body?: string }): string {
  const head = 'forward' in rest ? rest.forward : (rest as Partial<RawResponse>).head;
  return /^transfer-encoding: chunked/im.test(head ?? '') ? unchunk(body) : body;
}

async function canary(client: RawClient, name: string, t: { fail(message: string): void }): Promise<void> {
  client.send('GET /canary HTTP/1.1\r\nHost: a\r\n\r\n');
  const answer = await client.response();
  // A connection that was broken off answers no more; it must not answer wrongly.
  if (answer !== undefined && answer.body !== '/canary') t.fail(`${name}: canary got ${JSON.stringify(answer)}`);
}

/** Waits until the sidecar gave up a connection to the app. */
async function gone(socket: Socket | undefined): Promise<void> {
  if (socket !== undefined && !socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
}
