import { followBody } from '../../src/sidecar/http1/body.ts';
import { CHUNKED, UNTIL_CLOSE } from '../../src/sidecar/http1/framing.ts';
import { ResponseReader } from '../../src/sidecar/http1/response.ts';
import { rewriteResponse } from '../../src/sidecar/http1/rewrite.ts';
import { mulberry32, mutate } from './fuzz-bytes.ts';
import { RESPONSES } from './http-corpus.ts';
import { type Finding, unchunkPart } from './http-fuzz.ts';
import { type Answer, type AnswerReading, LENIENT, readNodeResponses } from './node-parser.ts';

/** What the relay makes of the bytes that answer one request, after which the connection ends. */
interface Ours {
  readonly answers: readonly Answer[];
  readonly fault: string | undefined;
  /** The next request may go over this connection. */
  readonly reusable: boolean;
  readonly written: string;
}

/**
 * What we accept and Node's parser refuses, by its error code, each on purpose. All else is a finding.
 * HPE_CLOSED_CONNECTION: an interim response said close; the final one still goes on, and the connection ends with it.
 */
const ACCEPTED_ALONE: ReadonlySet<string> = new Set(['HPE_CLOSED_CONNECTION']);

/**
 * Sends mutated rows through our reader of responses and Node's. We may refuse more; where we accept, Node has to read
 * the same heads and the same body, has to find the connection as free as we do, and has to read what we write, strict
 * and lenient, as just this answer.
 */
export function fuzzResponses(
  seed: number,
  inputs: number,
): { findings: Finding[]; accepted: number; refused: number } {
  const findings: Finding[] = [];
  let accepted = 0;
  let refused = 0;
  for (let i = 0; i < inputs && findings.length < 20; i++) {
    const random = mulberry32(seed + i);
    const bytes = mutate(random, SEEDS, PIECES);
    const method = random() < 0.2 ? 'HEAD' : 'GET';
    const ours = readOurs(bytes, method, random);
    if (ours.fault === undefined) accepted++;
    else refused++;
    const what = compare(ours, readNodeResponses(bytes, 0, method), method);
    if (what !== undefined) findings.push({ seed: seed + i, bytes, what: `${method}: ${what}` });
  }
  return { findings, accepted, refused };
}

function compare(ours: Ours, node: AnswerReading, method: string): string | undefined {
  for (const [i, answer] of ours.answers.entries()) {
    const theirs = node.answers[i];
    if (theirs === undefined) {
      if (!ours.reusable && node.error !== undefined && ACCEPTED_ALONE.has(node.error)) return undefined;
      return `Node refuses response ${i} (${node.error ?? 'silent'}), we take it: ${JSON.stringify(answer)}`;
    }
    if (answer.status !== theirs.status) return `we read status ${answer.status}, Node ${theirs.status}`;
    const common = Math.min(answer.body.length, theirs.body.length);
    if (answer.body.slice(0, common) !== theirs.body.slice(0, common)) return 'bodies differ';
    if (answer.whole && (!theirs.whole || answer.body.length !== theirs.body.length)) {
      return `we end the body after ${answer.body.length} bytes, Node ${theirs.whole ? 'after' : 'not yet after'} ${theirs.body.length} (${node.error ?? 'no error'})`;
    }
  }
  if (ours.reusable) {
    if (node.answers.length !== ours.answers.length || node.error !== undefined) {
      return `we use the connection again, Node reads ${node.answers.length} responses (${node.error ?? 'no error'})`;
    }
    // Of HEAD it judges before it knows that no body follows.
    if (method === 'GET' && node.answers.at(-1)?.keepAlive !== true)
      return 'we use the connection again, Node would not';
  }
  if (ours.fault !== undefined) return undefined;
  for (const lenient of [0, LENIENT]) {
    const read = readNodeResponses(ours.written, lenient, method);
    if (read.error !== undefined) return `Node cannot read what we write (${read.error}): ${quoted(ours)}`;
    if (read.answers.length !== ours.answers.length)
      return `Node reads ${read.answers.length} responses: ${quoted(ours)}`;
    for (const [i, { status, body, whole }] of ours.answers.entries()) {
      const theirs = read.answers[i];
      if (theirs?.status !== status || theirs.body !== body || theirs.whole !== whole) {
        return `Node reads response ${i} of what we write as ${JSON.stringify(theirs)}: ${quoted(ours)}`;
      }
    }
  }
  return undefined;
}

const quoted = ({ written }: Ours): string => JSON.stringify(written);

/** Through the pure reader, in pieces, as the relay does. */
function readOurs(bytes: string, method: string, random: () => number): Ours {
  const reader = new ResponseReader();
  reader.expect(method, undefined);
  const answers: Answer[] = [];
  let written = '';
  let framed = '';
  let body: ReturnType<typeof followBody> | undefined;
  let framing: Parameters<typeof followBody>[0] | undefined;
  let reusable = true;
  const done = (fault?: string): Ours => {
    const current = answers.at(-1);
    if (body !== undefined && current !== undefined) {
      current.body = framing === CHUNKED ? unchunkPart(framed) : framed;
      current.whole = body.done || framing === UNTIL_CLOSE;
      written += framing === UNTIL_CLOSE && framed !== '' ? `${framed.length.toString(16)}\r\n${framed}\r\n` : '';
      written += framing === UNTIL_CLOSE ? '0\r\n\r\n' : framed;
      if (!current.whole) fault ??= 'cut';
    } else fault ??= 'cut';
    return { answers, fault, reusable: fault === undefined && reusable, written };
  };
  const buffer = Buffer.from(bytes, 'latin1');
  let at = 0;
  while (at < buffer.length) {
    const to = random() < 0.7 ? buffer.length : at + 1 + Math.trunc(random() * (buffer.length - at));
    while (at < to) {
      if (body === undefined) {
        const head = reader.push(buffer, at, to);
        if (head === undefined) {
          at = to;
          break;
        }
        if (typeof head === 'string') return done(head);
        at += reader.taken;
        const passed = head.framing === UNTIL_CLOSE ? CHUNKED : head.framing;
        written += rewriteResponse(head, { direction: 'outbound', framing: passed, close: false });
        answers.push({ status: head.status, keepAlive: head.persistent, body: '', whole: head.status < 200 });
        reusable &&= head.persistent;
        if (head.status < 200) continue;
        framing = head.framing;
        body = followBody(framing);
      } else if (body.done) {
        // More than was asked for.
        reusable = false;
        return done();
      }
      const n = body.feed(buffer, at, to);
      if (body.fault !== undefined) return done(body.fault);
      framed += buffer.toString('latin1', at, at + n);
      at = body.used;
    }
  }
  return done();
}

const PIECES = [
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '0',
  '1',
  'a',
  '\0',
  '\x7f',
  '\xff',
  'chunked',
  'Transfer-Encoding: chunked\r\n',
  'Content-Length: 3\r\n',
  'Content-Length: ',
  'Connection: close\r\n',
  'Connection: keep-alive\r\n',
  'Connection: upgrade\r\nUpgrade: websocket\r\n',
  'Upgrade: h2c\r\n',
  'Keep-Alive: timeout=1\r\n',
  '0\r\n\r\n',
  '\r\n\r\n',
  '3\r\nabc\r\n',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/1.1 200 OK\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi',
  'X: y\r\n',
  ' \r\n',
];
const SMALL = RESPONSES.filter(({ bytes }) => bytes.length < 2_000);
const SEEDS = [...SMALL, ...SMALL.filter(({ want }) => 'forward' in want)].map(({ bytes }) => bytes);
