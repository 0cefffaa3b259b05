import t, { type Test } from 'tap';
import { REJECTIONS } from '../../src/sidecar/http1/reasons.ts';
import type { Direction } from '../../src/sidecar/metrics.ts';
import { type Outcome, REQUESTS, type RequestRow } from '../support/http-corpus.ts';
import { expected } from '../support/http-pure.ts';
import { type HttpRig, type RawClient, startHttp, wholeRequest } from '../support/http-rig.ts';

/** Wherever a row is cut in the middle of something that matters; cutting at every byte is done without sockets. */
const WAYS: ReadonlyArray<{
  name: string;
  userBuffers?: boolean;
  send: (client: RawClient, bytes: string) => Promise<void> | void;
}> = [
  { name: 'whole, on data events', userBuffers: false, send: (client, bytes) => client.send(bytes) },
  { name: 'whole', send: (client, bytes) => client.send(bytes) },
  {
    name: 'byte by byte',
    send: (client, bytes) => client.drip(bytes.slice(0, 400)).then(() => client.send(bytes.slice(400))),
  },
];

const BEFORE = 'GET /before HTTP/1.1\r\nHost: n\r\n\r\n';
const CANARY = 'GET /canary HTTP/1.1\r\nHost: n\r\n\r\n';

for (const direction of ['inbound', 'outbound'] as const) {
  for (const { name, send, userBuffers = true } of WAYS) {
    t.test(`${direction}, ${name}: every row, and a canary through the same pool`, async (t) => {
      const rig = await startHttp(t, { userBuffers });
      let canaries = 0;
      for (const row of REQUESTS) {
        const client = await rig[direction]();
        const before = mark(rig);
        await send(client, row.bytes);
        await check(t, rig, row, direction, client, before);
        await probe(t, rig, direction, row);
        canaries++;
        client.socket.destroy();
      }
      t.comment(`${REQUESTS.length} rows, ${canaries} canaries right`);
    });
  }

  t.test(`${direction}, pipelined behind another request: every row, and a canary`, async (t) => {
    const rig = await startHttp(t);
    for (const row of REQUESTS) {
      const client = await rig[direction]();
      client.send(BEFORE + row.bytes);
      const first = await client.response();
      t.equal(first?.body, '/before', `${row.id}: what was in front is answered`);
      for (const outcome of row.want) {
        const { status } = (await client.response(methodOf(row.bytes))) ?? { status: 0 };
        t.equal(status, statusOf(outcome), `${row.id} ${row.what}`);
      }
      await probe(t, rig, direction, row);
      client.socket.destroy();
    }
  });
}

function methodOf(bytes: string): string {
  return bytes.trimStart().split(' ', 1)[0] ?? '';
}

function statusOf(outcome: Outcome): number {
  if ('forward' in outcome) return 200;
  return REJECTIONS['refuse' in outcome ? outcome.refuse : outcome.refuseInBody];
}

/** How much each connection of the app had got. */
function mark(rig: HttpRig): Map<unknown, number> {
  return new Map(rig.connections.map((connection) => [connection, connection.received.length]));
}

async function check(
  t: Test,
  rig: HttpRig,
  row: RequestRow,
  direction: Direction,
  client: RawClient,
  before: Map<unknown, number>,
): Promise<void> {
  const name = `${row.id} ${row.what} ${JSON.stringify(row.bytes.slice(0, 50))}`;
  const got: unknown[] = [];
  const want: unknown[] = [];
  for (const outcome of row.want) {
    const response = await client.response(methodOf(row.bytes));
    got.push(response?.status);
    want.push(statusOf(outcome));
    if (!('forward' in outcome)) {
      got.push(
        /^connection: close\r$/im.test(response?.head ?? ''),
        /^x-sidelock-reason: (\S+)/im.exec(response?.head ?? '')?.[1],
      );
      want.push(true, 'refuse' in outcome ? outcome.refuse : outcome.refuseInBody);
      await client.closed;
    }
  }
  const passed = rig.connections.map((c) => c.received.slice(before.get(c) ?? 0)).join('');
  if (row.want.some((outcome) => 'refuse' in outcome)) {
    got.push(passed);
    want.push('');
  } else if (row.want.some((outcome) => 'refuseInBody' in outcome)) {
    got.push(wholeRequest(passed, 0));
    want.push(undefined);
  } else {
    got.push(...requestsIn(t, passed, name));
    want.push(...row.want.map((outcome) => lowered(expected(outcome, direction), direction)));
  }
  t.strictSame(got, want, name);
}

/** The requests that reached the app, without what sidecars add, which must be there exactly once. */
function requestsIn(t: Test, text: string, name: string): unknown[] {
  const all: unknown[] = [];
  for (let at = 0, found = wholeRequest(text, 0); found !== undefined; found = wholeRequest(text, at)) {
    at = found.end;
    const lines = found.head.slice(0, -2).split(/(?<=\r\n)/);
    const ours = lines.filter((line) => OURS.test(line));
    if (
      ours.length !== 4 ||
      !ours.some((line) => /^x-forwarded-client-cert: By=spiffe:.*;URI=spiffe:.*\/sa\/web\r\n$/.test(line))
    ) {
      t.fail(`${name}: ${JSON.stringify(ours)}`);
    }
    all.push({ forward: lines.filter((line) => !OURS.test(line)).join(''), body: found.body });
  }
  return all;
}

const OURS = /^x-(forwarded-(client-cert|for|proto)|request-id): /;

/** Behind an outbound stands an inbound, which drops what only inbound drops. */
function lowered(outcome: Outcome, direction: Direction): Outcome {
  if (direction === 'inbound' || !('forward' in outcome)) return outcome;
  const forward = outcome.forward.replaceAll(/^(x-forwarded-(for|proto)|x-envoy-\S*|l5d-\S*): .*\r\n/gim, '');
  return { ...outcome, forward };
}

async function probe(t: Test, rig: HttpRig, direction: Direction, row: RequestRow): Promise<void> {
  const client = await rig[direction]();
  client.send(CANARY);
  const answer = await client.response();
  if (answer?.body !== '/canary') t.fail(`${row.id} ${row.what}: the canary got ${JSON.stringify(answer)}`);
  client.socket.destroy();
}
