import { followBody } from '../../src/sidecar/http1/body.ts';
import { CHUNKED, UNTIL_CLOSE } from '../../src/sidecar/http1/framing.ts';
import { readRequest, requestReader } from '../../src/sidecar/http1/request.ts';
import { ResponseReader } from '../../src/sidecar/http1/response.ts';
import { rewriteRequest, rewriteResponse } from '../../src/sidecar/http1/rewrite.ts';
import type { Direction } from '../../src/sidecar/metrics.ts';
import type { Outcome, ResponseRow } from './http-corpus.ts';

/** What comes of bytes on a connection, piece by piece, and whether the last message was whole. */
export interface Passed {
  readonly outcomes: readonly Outcome[];
  readonly whole: boolean;
}

/** Our additions in the heads that {@link passRequests} gives. */
const OURS: Readonly<Record<Direction, string>> = {
  inbound: 'x-forwarded-client-cert: us\r\nx-request-id: id\r\n\r\n',
  outbound: 'x-request-id: id\r\n\r\n',
};

/** Reads the requests in `pieces` as the relay does, without sockets. */
export function passRequests(pieces: readonly Buffer[], direction: Direction): Passed {
  const reader = requestReader(direction);
  const outcomes: Outcome[] = [];
  let body: ReturnType<typeof followBody> | undefined;
  let current: { forward: string; body: string } | undefined;
  for (const piece of pieces) {
    const buffer = Buffer.from(piece);
    let at = 0;
    while (at < buffer.length) {
      if (body === undefined) {
        const raw = reader.push(buffer, at, buffer.length);
        if (raw === undefined) break;
        const head = typeof raw === 'string' ? raw : readRequest(raw);
        if (typeof head === 'string') return { outcomes: [...outcomes, { refuse: head }], whole: true };
        at += reader.taken;
        const { text } = rewriteRequest(head, {
          direction,
          callerFields: direction === 'inbound' ? 'x-forwarded-client-cert: us\r\n' : '',
          newRequestId: () => 'id',
          newTraceparent: undefined,
        });
        if (!text.endsWith(OURS[direction])) throw new Error(`our fields are not last: ${JSON.stringify(text)}`);
        current = { forward: text.slice(0, -OURS[direction].length), body: '' };
        body = followBody(head.framing);
      } else {
        const n = body.feed(buffer, at, buffer.length);
        if (body.fault !== undefined) return { outcomes: [...outcomes, { refuseInBody: body.fault }], whole: true };
        if (current !== undefined) current.body += buffer.toString('latin1', at, at + n);
        at = body.used;
      }
      if (body.done && current !== undefined) {
        outcomes.push(current);
        current = body = undefined;
      }
    }
  }
  return { outcomes, whole: current === undefined && !reader.begun };
}

/** The bytes as one piece, cut in two at every offset (of long ones at every 61st), and one by one. */
export function* cuts(text: string): Generator<Buffer[]> {
  const bytes = Buffer.from(text, 'latin1');
  yield [bytes];
  const step = bytes.length > 2_000 ? 61 : 1;
  for (let at = 1; at < bytes.length; at += step) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield Array.from(bytes, (byte) => Buffer.of(byte));
}

/** How a row's outcome looks through {@link passRequests}. */
export function expected(outcome: Outcome, direction: Direction): Outcome {
  if (!('forward' in outcome)) return outcome;
  const { forward, outbound, body } = outcome;
  return { forward: direction === 'outbound' ? (outbound ?? forward) : forward, body: body ?? '' };
}

/** Reads what answers one request as the relay does, without sockets. */
export function passResponse(pieces: readonly Buffer[], { method = 'GET', close }: ResponseRow): ResponseRow['want'] {
  const reader = new ResponseReader();
  reader.expect(method, undefined);
  let forward = '';
  let content = '';
  let body: ReturnType<typeof followBody> | undefined;
  let reusable = true;
  let untilClose = false;
  for (const piece of pieces) {
    const buffer = Buffer.from(piece);
    let at = 0;
    while (at < buffer.length) {
      if (body === undefined) {
        const head = reader.push(buffer, at, buffer.length);
        if (head === undefined) break;
        if (typeof head === 'string') return { fault: head };
        at += reader.taken;
        const { framing } = head;
        const passed = framing.kind === 'close' ? CHUNKED : framing;
        forward += rewriteResponse(head, { direction: 'inbound', framing: passed, close: false }).slice(0, -2);
        reusable &&= head.persistent;
        if (head.status < 200) {
          forward += '\r\n';
          continue;
        }
        untilClose = framing === UNTIL_CLOSE;
        body = followBody(framing);
      } else if (body.done) {
        // More than was asked for.
        return { forward, body: content, reusable: false };
      }
      const n = body.feed(buffer, at, buffer.length);
      if (body.fault !== undefined) return { fault: body.fault };
      content += buffer.toString('latin1', at, at + n);
      at = body.used;
    }
  }
  if (close === true && body?.done !== true && !untilClose) return { fault: 'cut' };
  if (untilClose) content = `${content.length.toString(16)}\r\n${content}\r\n0\r\n\r\n`;
  return { forward, body: content, reusable };
}
