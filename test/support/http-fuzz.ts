import { followBody } from '../../src/sidecar/http1/body.ts';
import { readRequest, requestReader } from '../../src/sidecar/http1/request.ts';
import { rewriteRequest } from '../../src/sidecar/http1/rewrite.ts';
import { mulberry32, mutate } from './fuzz-bytes.ts';
import { REQUESTS } from './http-corpus.ts';
import { unchunk } from './http-rig.ts';
import { LENIENT, type Message, type Reading, readNodeRequests } from './node-parser.ts';

export interface Finding {
  readonly seed: number;
  readonly bytes: string;
  readonly what: string;
}

/**
 * What we accept and Node's parser refuses, by its error code, each on purpose. All else is a finding.
 * HPE_INVALID_METHOD: it knows a list of methods, we any token (threats H12).
 */
const ACCEPTED_ALONE: ReadonlySet<string> = new Set(['HPE_INVALID_METHOD']);

/**
 * Sends mutated rows through our parser and Node's. We may refuse more; where we accept, Node has to accept the same
 * requests with the same bodies, and what we write has to be read by Node, strict and lenient, as just these requests.
 */
export function fuzzRequests(seed: number, inputs: number): { findings: Finding[]; accepted: number; refused: number } {
  const findings: Finding[] = [];
  let accepted = 0;
  let refused = 0;
  for (let i = 0; i < inputs && findings.length < 20; i++) {
    const random = mulberry32(seed + i);
    const bytes = mutate(random, SEEDS, PIECES);
    const { reading, written } = readOurs(bytes, random);
    accepted += reading.messages.length;
    if (reading.error !== undefined) refused++;
    const what = compare(reading, readNodeRequests(bytes, 0), written);
    if (what !== undefined) findings.push({ seed: seed + i, bytes, what });
  }
  return { findings, accepted, refused };
}

function compare(ours: Reading, node: Reading, written: string): string | undefined {
  for (const [i, message] of ours.messages.entries()) {
    const theirs = node.messages[i];
    if (theirs === undefined) {
      if (node.last) return undefined;
      if (node.error !== undefined && ACCEPTED_ALONE.has(node.error)) return undefined;
      return `Node refuses request ${i} (${node.error ?? 'silent'}), we take it: ${JSON.stringify(message)}`;
    }
    const difference = differs(message, theirs);
    if (difference !== undefined) return `request ${i}: ${difference} (${node.error ?? 'no error'})`;
  }
  for (const lenient of [0, LENIENT]) {
    const read = readNodeRequests(written, lenient);
    if (read.error !== undefined && ACCEPTED_ALONE.has(read.error)) continue;
    if (read.error !== undefined) return `Node cannot read what we write (${read.error}): ${JSON.stringify(written)}`;
    if (read.messages.length !== ours.messages.length) {
      return `we write ${ours.messages.length} requests, Node reads ${read.messages.length}: ${JSON.stringify(written)}`;
    }
    for (const [i, message] of ours.messages.entries()) {
      const theirs = read.messages[i];
      if (theirs === undefined || theirs.body !== message.body || theirs.whole !== message.whole) {
        return `we write request ${i} so that Node reads ${JSON.stringify(theirs)}: ${JSON.stringify(written)}`;
      }
    }
  }
  return undefined;
}

function differs(ours: Message, theirs: Message): string | undefined {
  if (ours.method !== theirs.method || ours.target !== theirs.target) {
    return `we read ${ours.method} ${ours.target}, Node ${theirs.method} ${theirs.target}`;
  }
  // Of an unfinished body both may have read a part; it must be the same part as far as both went.
  const common = Math.min(ours.body.length, theirs.body.length);
  if (ours.body.slice(0, common) !== theirs.body.slice(0, common)) return 'bodies differ';
  if (ours.whole && (!theirs.whole || ours.body.length !== theirs.body.length)) {
    return `we end the body after ${ours.body.length} bytes, Node ${theirs.whole ? 'after' : 'not yet after'} ${theirs.body.length}`;
  }
  return undefined;
}

/** Through the pure parser, in pieces; what it would send is `written`. */
function readOurs(bytes: string, random: () => number): { reading: Reading; written: string } {
  const reader = requestReader('outbound');
  const messages: Message[] = [];
  let written = '';
  let body: ReturnType<typeof followBody> | undefined;
  let framed = '';
  let chunked = false;
  let last = false;
  const done = (error?: string) => {
    const current = messages.at(-1);
    if (current !== undefined && !current.whole) current.body = chunked ? unchunkPart(framed) : framed;
    return { reading: { messages, error, last }, written };
  };
  const buffer = Buffer.from(bytes, 'latin1');
  let at = 0;
  while (at < buffer.length) {
    const to = random() < 0.7 ? buffer.length : at + 1 + Math.trunc(random() * (buffer.length - at));
    while (at < to) {
      if (body === undefined) {
        // The relay reads nothing behind a request that closes, or that may become another protocol.
        if (last) return done();
        const raw = reader.push(buffer, at, to);
        if (raw === undefined) {
          at = to;
          break;
        }
        const head = typeof raw === 'string' ? raw : readRequest(raw);
        if (typeof head === 'string') return done(head);
        at += reader.taken;
        const { text, start, startEnd } = head.raw;
        const target = text.slice(start, startEnd).split(' ')[1] ?? '';
        messages.push({ method: head.method, target, body: '', whole: false });
        const rewrite = {
          direction: 'outbound',
          callerFields: '',
          newRequestId: () => 'id',
          newTraceparent: undefined,
        } as const;
        written += rewriteRequest(head, rewrite).text;
        body = followBody(head.framing);
        framed = '';
        chunked = head.framing.kind === 'chunked';
        last = head.connection.close || head.connection.upgrade || head.minor === 0;
      }
      const current = messages.at(-1);
      if (body === undefined || current === undefined) continue;
      const n = body.feed(buffer, at, to);
      if (body.fault !== undefined) return done(body.fault);
      framed += buffer.toString('latin1', at, at + n);
      written += buffer.toString('latin1', at, at + n);
      at = body.used;
      if (body.done) {
        current.body = chunked ? unchunk(framed) : framed;
        current.whole = true;
        body = undefined;
      }
    }
  }
  return done();
}

/** The content of chunks of which the end may be missing. */
export function unchunkPart(framed: string): string {
  let content = '';
  for (let at = 0; ; ) {
    const line = framed.indexOf('\r\n', at);
    if (line < 0) return content;
    const size = Number.parseInt(framed.slice(at, line), 16);
    content += framed.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
    if (!(size > 0) || at > framed.length) return content;
  }
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
  '\x0b',
  '_',
  '-',
  '"',
  '#',
  '%',
  '/',
  '@',
  'chunked',
  'Transfer-Encoding: chunked\r\n',
  'Content-Length: 3\r\n',
  'Content-Length: ',
  'Host: b\r\n',
  'Host:',
  'Connection: close\r\n',
  'Connection: keep-alive\r\n',
  'Expect: 100-continue\r\n',
  '0\r\n\r\n',
  '\r\n\r\n',
  '3\r\nabc\r\n',
  'HTTP/1.1',
  'HTTP/1.0',
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi',
  'X: y\r\n',
  ' \r\n',
  'http://b/',
];
const SEEDS = [
  ...REQUESTS.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 2_000),
  ...REQUESTS.filter(({ want }) => want.every((outcome) => 'forward' in outcome))
    .map(({ bytes }) => bytes)
    .filter((bytes) => bytes.length < 2_000),
];
