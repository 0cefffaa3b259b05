import { createRequire } from 'node:module';

/** One request as a parser saw it. */
export interface Message {
  readonly method: string;
  readonly target: string;
  body: string;
  whole: boolean;
}

export interface Reading {
  readonly messages: readonly Message[];
  /** Why it stopped before the end of the bytes. */
  readonly error: string | undefined;
  /** The last request asks for another protocol, or for the end: what follows is read differently by design. */
  readonly last: boolean;
}

/** One response as a parser saw it. */
export interface Answer {
  readonly status: number;
  readonly keepAlive: boolean;
  body: string;
  whole: boolean;
}

export interface AnswerReading {
  readonly answers: readonly Answer[];
  readonly error: string | undefined;
}

/** The requests in `bytes`, as Node reads them with these lenient flags. */
export function readNodeRequests(bytes: string, lenient: number): Reading {
  const parser = new common.HTTPParser();
  const messages: Message[] = [];
  let last = false;
  let early = '';
  parser.initialize(REQUEST, {}, 1 << 20, lenient);
  parser[constant('kOnMessageBegin')] = () => {
    early = '';
  };
  // Many fields come in parts, and the target with the first of them.
  parser[constant('kOnHeaders')] = (_headers: unknown, url: string) => {
    early += url;
  };
  parser[ON_HEAD] = (
    _maj: number,
    _min: number,
    _h: unknown,
    method: number,
    url: string | undefined,
    _s: unknown,
    _m: unknown,
    upgrade: boolean,
  ) => {
    messages.push({ method: common.methods[method] ?? '', target: url ?? early, body: '', whole: false });
    early = '';
    last ||= upgrade;
    return 0;
  };
  parser[ON_BODY] = (part: Buffer) => {
    const current = messages.at(-1);
    if (current !== undefined) current.body += part.toString('latin1');
  };
  parser[ON_DONE] = () => {
    const current = messages.at(-1);
    if (current !== undefined) current.whole = true;
  };
  const result = parser.execute(Buffer.from(bytes, 'latin1'));
  parser.close();
  return { messages, error: typeof result === 'number' ? undefined : (result.code ?? 'error'), last };
}

/**
 * The responses in `bytes`, the first final one to a request of `method`, after which the connection ends. What follows
 * a 101 is not read.
 */
export function readNodeResponses(bytes: string, lenient: number, method: string): AnswerReading {
  const parser = new common.HTTPParser();
  const answers: Answer[] = [];
  parser.initialize(RESPONSE, {}, 1 << 20, lenient);
  parser[constant('kOnHeaders')] = () => {};
  parser[ON_HEAD] = (
    _maj: number,
    _min: number,
    _h: unknown,
    _method: unknown,
    _url: unknown,
    status: number,
    _m: unknown,
    upgrade: boolean,
    keepAlive: boolean,
  ) => {
    const first = answers.every((answer) => answer.status < 200);
    answers.push({ status, keepAlive, body: '', whole: false });
    if (upgrade) return 2;
    return first && method === 'HEAD' ? 1 : 0;
  };
  parser[ON_BODY] = (part: Buffer) => {
    const current = answers.at(-1);
    if (current !== undefined) current.body += part.toString('latin1');
  };
  parser[ON_DONE] = () => {
    const current = answers.at(-1);
    if (current !== undefined) current.whole = true;
  };
  let result = parser.execute(Buffer.from(bytes, 'latin1'));
  if (typeof result === 'number') result = parser.finish() ?? 0;
  parser.close();
  return { answers, error: typeof result === 'number' ? undefined : (result.code ?? 'error') };
}

/** The parser inside of http.Server; there is no other way to have it without a socket per input. */
interface NodeParser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenientFlags: number): void;
  execute(buffer: Buffer): number | (Error & { code?: string });
  /** The connection ended. */
  finish(): number | undefined | (Error & { code?: string });
  close(): void;
  [callback: number]: unknown;
}
interface NodeParserClass {
  new (): NodeParser;
  readonly methods?: readonly string[];
  readonly [constant: string]: number | readonly string[] | undefined;
}
const common: { HTTPParser: NodeParserClass; methods: readonly string[] } = createRequire(import.meta.url)(
  '_http_common',
);
const constant = (name: string): number => {
  const value = common.HTTPParser[name];
  if (typeof value !== 'number') throw new Error(`this Node has no HTTPParser.${name}`);
  return value;
};
const REQUEST = constant('REQUEST');
const RESPONSE = constant('RESPONSE');
/** All its lenient flags. */
export const LENIENT = constant('kLenientAll');
const ON_HEAD = constant('kOnHeadersComplete');
const ON_BODY = constant('kOnBody');
const ON_DONE = constant('kOnMessageComplete');
