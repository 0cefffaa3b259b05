import type { Rejection, ResponseFault } from '../../src/sidecar/http1/reasons.ts';

/** What one message of a row must come to. */
export type Outcome =
  /** Refused at the head: the app gets nothing. */
  | { readonly refuse: Rejection }
  /** The head went on before its body turned out wrong. */
  | { readonly refuseInBody: Rejection }
  /** The lines that the app gets, without those that we add, and the body as it gets it. */
  | { readonly forward: string; readonly body?: string; readonly outbound?: string };

export interface RequestRow {
  readonly id: string;
  readonly what: string;
  readonly bytes: string;
  readonly want: readonly Outcome[];
}

export interface ResponseRow {
  readonly id: string;
  readonly what: string;
  readonly bytes: string;
  readonly method?: string;
  /** `close`: the connection ends behind the bytes. */
  readonly close?: boolean;
  readonly want:
    | { readonly fault: ResponseFault }
    | { readonly forward: string; readonly body?: string; readonly reusable: boolean };
}

/** `¶` is CR LF. Everything else is latin1. */
const w = (text: string) => text.replaceAll('¶', '\r\n');
const G = 'GET / HTTP/1.1¶Host: a¶';
const P = 'POST / HTTP/1.1¶Host: a¶';
const C = 'Transfer-Encoding: chunked¶';
/** As we write it. */
const c = 'transfer-encoding: chunked¶';
const SMUGGLED = 'GET /smug HTTP/1.1¶Host: a¶¶';

export const REQUESTS: readonly RequestRow[] = [
  ...refused('D1', 'CL.TE', 'length_and_encoding', [`${P}Content-Length: 6¶${C}¶0¶¶${SMUGGLED}`]),
  ...refused('D2', 'TE.CL', 'length_and_encoding', [`${P}${C}Content-Length: 4¶¶5c¶GPOST / HTTP/1.1¶¶0¶¶`]),
  ...refused('D3', 'unknown coding', 'bad_transfer_encoding', [te(': xchunked')]),
  ...refused('D4', 'a dressed coding', 'bad_field_name', [te(' : chunked')]),
  ...refused('D4', 'a dressed coding', 'bad_field_value', [
    te(': \x0bchunked'),
    te(': chunked\0'),
    te(': chunked\x7f'),
  ]),
  ...refused('D4', 'a dressed coding', 'bad_transfer_encoding', [
    `${P}${C}Transfer-Encoding: identity¶¶0¶¶`,
    `${P}${C}${C}¶0¶¶`,
    te(': chunked, identity'),
    te(': chunked,'),
    te(':'),
  ]),
  ...refused('D4', 'a dressed coding', 'folded_field', [`${P}Transfer-Encoding:¶ chunked¶¶0¶¶`]),
  ...refused('D7', 'lists of codings', 'bad_transfer_encoding', [te(': identity, chunked'), te(': ,chunked')]),
  ...refused('D7', 'lists of codings', 'unknown_coding', [te(': gzip, chunked')]),
  ...refused('D9', 'a dressed coding', 'bad_transfer_encoding', [
    te(': "chunked"'),
    te(': chunked;q=1'),
    te(': chunked\t'),
    te(': chunked '),
  ]),
  ...refused('D12', 'a coding in HTTP/1.0', 'encoding_in_http_1_0', [`POST / HTTP/1.0¶Host: a¶${C}¶0¶¶`]),
  row('D13', 'an underscore twin of a framing field', `${P}Transfer_Encoding: chunked¶Content-Length: 5¶¶hello`, [
    { forward: `${P}Content-Length: 5¶`, body: 'hello' },
  ]),
  ...refused('D14', 'lengths that differ, or agree', 'repeated_content_length', [
    `${P}Content-Length: 3¶Content-Length: 5¶¶abcde`,
    `${P}Content-Length: 3¶Content-Length: 3¶¶abc`,
  ]),
  ...refused('D14', 'a list of lengths', 'bad_content_length', [length('3, 3')]),
  ...refused(
    'D15',
    'forms of a length',
    'bad_content_length',
    ['+3', '-3', '0x3', '1_0', '3 0', '3.0', '', '\xb2', '\xd9\xa3', '18446744073709551619'].map(length),
  ),
  ...refused('D17', 'a length above 2^53', 'bad_content_length', [length('9007199254740993')]),
  row('D18', 'leading zeros', `${P}Content-Length: 003¶¶abc`, [{ forward: `${P}content-length: 3¶`, body: 'abc' }]),
  row('D18', 'blanks behind', `${P}Content-Length: 3 \t¶¶abc`, [{ forward: `${P}content-length: 3¶`, body: 'abc' }]),
  ...['GET', 'DELETE', 'OPTIONS', 'HEAD'].map((method) =>
    row('D19', `${method} with a body of known length`, `${method} / HTTP/1.1¶Host: a¶Content-Length: 3¶¶abc`, [
      { forward: `${method} / HTTP/1.1¶Host: a¶Content-Length: 3¶`, body: 'abc' },
    ]),
  ),
  ...['GET', 'DELETE', 'OPTIONS'].map((method) =>
    row('D19', `${method} with a chunked body`, `${method} / HTTP/1.1¶Host: a¶${C}¶3¶abc¶0¶¶`, [
      { forward: `${method} / HTTP/1.1¶Host: a¶${c}`, body: '3¶abc¶0¶¶' },
    ]),
  ),
  ...refused('D20', 'bare LF', 'bare_lf', [
    'GET / HTTP/1.1\nHost: a\n\n',
    'GET / HTTP/1.1¶Host: a\n¶',
    'GET / HTTP/1.1¶Host: a¶\n',
    'GET / HTTP/1.1\n¶',
  ]),
  ...refused('D21', 'bare CR', 'bare_cr', [
    'GET / HTTP/1.1¶Host: a\rX: y¶¶',
    `${G}X: y\rContent-Length: 5¶¶`,
    'GET / HTTP/1.1¶Host: a\r¶¶',
    `${G}\rX: y¶¶`,
    'GET / HTTP/1.1\r\r\nHost: a¶¶',
    'GET /\rb HTTP/1.1¶Host: a¶¶',
  ]),
  ...refused('D22', 'folds and leading blanks', 'folded_field', [
    `${G}X: a¶ b¶¶`,
    `${G}X: a¶\tb¶¶`,
    `GET / HTTP/1.1¶ Host: a¶¶`,
    `${G} Content-Length: 5¶¶`,
    `OPTIONS / HTTP/1.1¶Host: a¶Expect:¶ 100-continue¶Content-Length: 3¶¶abc`,
  ]),
  ...refused(
    'D23',
    'names',
    'bad_field_name',
    [': x', 'no colon', 'F\0o: x', 'F\xe9o: x', 'Fo(o: x', 'Foo\t: x', 'Foo : x'].map(field),
  ),
  ...refused('D24', 'control bytes in values', 'bad_field_value', ['X: x\0y', 'X: x\x01y', 'X: x\x7fy'].map(field)),
  row('D25', 'obs-text', field('X: x\xff\xe9'), [{ forward: `${G}X: x\xff\xe9¶` }]),
  ...refused('D27', 'too many fields', 'too_many_fields', [`${G}${'x:y¶'.repeat(128)}¶`, `${G}${'x:y¶'.repeat(700)}¶`]),
  row('D27', 'as many fields as allowed', `${G}${'x:y¶'.repeat(127)}¶`, [{ forward: `${G}${'x:y¶'.repeat(127)}` }]),
  ...refused('D28', 'a big head', 'head_too_large', [field(`X: ${'x'.repeat(17_000)}`)]),
  ...refused('D28', 'a big target', 'target_too_long', [`GET /${'x'.repeat(17_000)} HTTP/1.1¶Host: a¶¶`]),

  chunked('K1', 'an extension', '3;a=b¶abc¶0¶¶', '3¶abc¶0¶¶'),
  chunked('K1', 'extensions at every chunk', '3;a¶abc¶1 ;b="c"¶d¶0;e¶¶', undefined, 'bad_chunk'),
  chunked('K1', 'quoted extensions at every chunk', '3;a¶abc¶1;b="c"¶d¶0;e¶¶', '3¶abc¶1¶d¶0¶¶'),
  ...['3;¶', '3;"¶', '3;a="¶', '3;a="b"c¶', '3;a=¶', '3;;a¶', '3;a b¶', '3; a¶', '3;a="\x01"¶'].map((size) =>
    chunked('K1', 'malformed extensions', `${size}abc¶0¶¶`, undefined, 'bad_chunk'),
  ),
  chunked('K1', 'escapes in an extension', '3;a="b\\"c;";d;e=f¶abc¶0¶¶', '3¶abc¶0¶¶'),
  chunked('K1', 'a long extension', `3;${'a'.repeat(300)}¶abc¶0¶¶`, undefined, 'chunk_extension_too_long'),
  chunked(
    'K2',
    'extensions in sum',
    `${`1;${'a'.repeat(200)}¶x¶`.repeat(30)}0¶¶`,
    undefined,
    'chunk_extension_too_long',
  ),
  chunked('K2', 'short extensions in sum', `${'1;a¶x¶'.repeat(3_000)}0¶¶`, undefined, 'chunk_extension_too_long'),
  ...['3\nabc¶0¶¶', '3;\nabc¶0¶¶', '2;\nxx¶4c¶0¶¶GET /smug HTTP/1.1¶Host: a¶¶'].map((body) =>
    chunked('K3', 'LF in a size line', body, undefined, 'bad_chunk'),
  ),
  ...['3;a\rb¶abc¶0¶¶', '3;a="¶abc"¶abc¶0¶¶', '3\rabc¶0¶¶'].map((body) =>
    chunked('K4', 'CR in a size line', body, undefined, 'bad_chunk'),
  ),
  ...['3¶abc\n0¶¶', '3¶abcXX0¶¶', '3¶abc\r0¶¶', '0\n\n'].map((body) =>
    chunked('K5', 'terminators', body, undefined, 'bad_chunk'),
  ),
  chunked('K5', 'the last terminator', '0¶\n', undefined, 'bad_trailer'),
  chunked('K5', 'the last terminator', '0¶\rX', undefined, 'bad_trailer'),
  ...['0x3', '+3', '-3', ' 3', '3 ', '1_0', '', '10000000000000003', '0000000000000000000003', 'FFFFFFFFFFFFFFF'].map(
    (size) => chunked('K6', 'forms of a size', `${size}¶abc¶0¶¶`, undefined, 'bad_chunk'),
  ),
  chunked('K6', 'hex in both cases', `a¶0123456789¶B¶0123456789a¶0¶¶`, 'a¶0123456789¶B¶0123456789a¶0¶¶'),
  chunked('K9', 'trailers', '3¶abc¶0¶X-T: 1¶¶', '3¶abc¶0¶¶'),
  chunked(
    'K10',
    'trailers with identity',
    '0¶X-Forwarded-Client-Cert: URI=spiffe://td/admin¶Host: b¶Authorization: x¶¶',
    '0¶¶',
  ),
  chunked('K11', 'trailers with framing', '0¶Content-Length: 9¶¶', undefined, 'bad_trailer'),
  chunked('K11', 'trailers with framing', '0¶Transfer-Encoding: gzip¶¶', undefined, 'bad_trailer'),
  chunked('K11', 'a trailer without a name', '0¶: x¶¶', undefined, 'bad_trailer'),

  ...refused('H1', 'no Host', 'missing_host', ['GET / HTTP/1.1¶¶', 'GET / HTTP/1.0¶¶']),
  ...refused('H2', 'two Hosts', 'repeated_host', [
    'GET / HTTP/1.1¶Host: a¶Host: b¶¶',
    'GET / HTTP/1.1¶Host: a¶hOST: a¶¶',
  ]),
  ...refused(
    'H3',
    'a bad Host',
    'bad_host',
    ['', 'u@a', 'a/b', 'a, b', 'a b', 'a:b', 'a:1:2', '[::1', '[x]', '[]', ':80', 'a#b', 'a\\b', 'a:123456'].map(
      (host) => `GET / HTTP/1.1¶Host: ${host}¶¶`,
    ),
  ),
  ...['a:80', '[::1]:80', '127.0.0.1', 'a_b.c', 'xn--a.b'].map((host) =>
    row('H3', 'a good Host', `GET / HTTP/1.1¶Host: ${host}¶¶`, [{ forward: `GET / HTTP/1.1¶Host: ${host}¶` }]),
  ),
  row('H4', 'absolute form', 'GET http://b/x?y HTTP/1.1¶Host: a¶X: 1¶¶', [
    { forward: 'GET /x?y HTTP/1.1¶host: b¶X: 1¶' },
  ]),
  row('H4', 'absolute form without a path', 'GET http://b?y HTTP/1.1¶Host: a¶¶', [
    { forward: 'GET /?y HTTP/1.1¶host: b¶' },
  ]),
  ...refused(
    'H4',
    'other absolute forms',
    'bad_target',
    ['https://b/x', 'http://u@b/x', 'ftp://b/x', 'http:///x', 'http://', 'http:/x', '//b:x@y', 'b/x']
      .filter((target) => !target.startsWith('//'))
      .map((target) => `GET ${target} HTTP/1.1¶Host: a¶¶`),
  ),
  ...refused('H5', 'target forms', 'bad_target', ['GET * HTTP/1.1¶Host: a¶¶', 'GET /#f HTTP/1.1¶Host: a¶¶']),
  row('H5', 'the asterisk', 'OPTIONS * HTTP/1.1¶Host: a¶¶', [{ forward: 'OPTIONS * HTTP/1.1¶Host: a¶' }]),
  ...refused(
    'H6',
    'target bytes',
    'bad_target',
    ['/\0', '/\t', '/\xe9', '\\x', 'x', '/\x7f'].map((target) => `GET ${target} HTTP/1.1¶Host: a¶¶`),
  ),
  ...refused('H6', 'no target', 'bad_start_line', ['GET HTTP/1.1¶Host: a¶¶', 'GET  HTTP/1.1¶Host: a¶¶']),
  ...['/public/../admin', '/%2e%2e/', '//admin', '/a%2fb', '/;x', '/%00', '/a\\b', '/?a=b&c'].map((target) =>
    row('H7', 'path tricks, no path rule', `GET ${target} HTTP/1.1¶Host: a¶¶`, [
      { forward: `GET ${target} HTTP/1.1¶Host: a¶` },
    ]),
  ),
  ...refused('H8', 'version', 'bad_version', ['GET / HTTP/2.0¶Host: a¶¶', 'GET / HTTP/3.1¶Host: a¶¶']),
  ...refused('H9', 'request line', 'bad_start_line', [
    'GET / HTTP/1.2¶Host: a¶¶',
    'GET / HTTP/11¶Host: a¶¶',
    'GET / http/1.1¶Host: a¶¶',
    'GET /¶Host: a¶¶',
    'GET / HTTP/1.1 ¶Host: a¶¶',
    'GET\t/\tHTTP/1.1¶Host: a¶¶',
    'GET  / HTTP/1.1¶Host: a¶¶',
    ' GET / HTTP/1.1¶Host: a¶¶',
    'G(T / HTTP/1.1¶Host: a¶¶',
    '\x16\x03\x01\x02\0\x01¶¶',
  ]),
  row('H11', 'one empty line', `¶${G}¶`, [{ forward: G }]),
  ...refused('H11', 'two empty lines', 'bad_start_line', [`¶¶${G}¶`]),
  ...['get', 'FOO'].map((method) =>
    row('H12', 'an unknown method', `${method} / HTTP/1.1¶Host: a¶¶`, [{ forward: `${method} / HTTP/1.1¶Host: a¶` }]),
  ),
  ...refused('H13', 'CONNECT', 'connect', [`CONNECT b:80 HTTP/1.1¶Host: b:80¶¶${SMUGGLED}`]),
  row('H14', 'h2c', `${G}Connection: Upgrade, HTTP2-Settings¶Upgrade: h2c¶HTTP2-Settings: AAMAAABk¶¶`, [
    { forward: G },
  ]),
  row(
    'H17',
    'an unknown upgrade, a body, another request',
    `${P}Connection: Upgrade¶Upgrade: x¶Content-Length: 3¶¶abc${G}¶`,
    [{ forward: `${P}Content-Length: 3¶`, body: 'abc' }, { forward: G }],
  ),
  row('H16', 'a WebSocket without a key', `${G}Connection: Upgrade¶Upgrade: websocket¶Sec-WebSocket-Key: x¶¶`, [
    { forward: `${G}Sec-WebSocket-Key: x¶` },
  ]),

  ...['X-Forwarded-Client-Cert: URI=spiffe://td/ns/x/sa/admin', 'x-FORWARDED-client-CERT: By=x'].map((line) =>
    row('I1', 'a forged identity', field(line), [{ forward: G }]),
  ),
  row('I1', 'forged twice', field('X-Forwarded-Client-Cert: a¶A: b¶x-forwarded-client-cert: c'), [
    { forward: `${G}A: b¶` },
  ]),
  ...refused(
    'I2',
    'underscore twins',
    'reserved_field',
    ['X_Forwarded_Client_Cert: x', 'X-Forwarded_Client-Cert: x', 'x_forwarded_for: x', 'X_Sidelock_Reason: x'].map(
      field,
    ),
  ),
  row('I2', 'other underscores', field('A_b: c¶D: e_f'), [{ forward: `${G}D: e_f¶` }]),
  row(
    'I3',
    'Connection names the identity',
    field('Connection: close, X-Forwarded-Client-Cert¶X-Forwarded-Client-Cert: x'),
    [{ forward: G }],
  ),
  row('I3', 'Connection names a field', field('A: b¶Connection: keep-alive, a, c¶C: d¶E: f'), [
    { forward: `${G}E: f¶` },
  ]),
  ...refused(
    'I4',
    'Connection names framing',
    'framing_in_connection',
    ['Content-Length', 'Transfer-Encoding', 'close, Host'].map((name) => field(`Connection: ${name}`)),
  ),
  row(
    'I5',
    'hop by hop',
    field(
      'Keep-Alive: timeout=5¶Proxy-Authorization: x¶Proxy-Connection: keep-alive¶TE: trailers¶Trailer: X¶HTTP2-Settings: x¶Proxy-Authenticate: x',
    ),
    [{ forward: G }],
  ),
  ...refused('I7', 'magic names', 'reserved_field', [field('__proto__: x')]),
  row('I7', 'constructor', field('constructor: y'), [{ forward: `${G}constructor: y¶` }]),
  row(
    'I8',
    'other trust fields',
    field('X-Forwarded-For: 1.2.3.4¶X-Forwarded-Proto: http¶X-Envoy-Internal: true¶l5d-dst: x¶Via: 1.1 x'),
    [
      {
        forward: `${G}Via: 1.1 x¶`,
        outbound: `${G}X-Forwarded-For: 1.2.3.4¶X-Forwarded-Proto: http¶X-Envoy-Internal: true¶l5d-dst: x¶Via: 1.1 x¶`,
      },
    ],
  ),
  row('I8', 'what only sidecars say', field('X-Sidelock-Reason: x'), [{ forward: G }]),
  row('I10', 'duplicates that no rule reads', field('Authorization: a¶Authorization: b'), [
    { forward: `${G}Authorization: a¶Authorization: b¶` },
  ]),

  row('E1', 'Expect', `${P}Content-Length: 3¶Expect: 100-continue¶¶abc`, [
    { forward: `${P}Content-Length: 3¶Expect: 100-continue¶`, body: 'abc' },
  ]),
  row('E2', 'Expect without a body', `${G}Expect: 100-continue¶¶`, [{ forward: G }]),
  ...refused('E2', 'other expectations', 'bad_expect', [
    field('Expect: y 100-continue'),
    `${P}${C}Expect: 100-continue, y¶¶0¶¶`,
    field('Expect: 100-continue¶Expect: 100-continue'),
    field('Expect:'),
  ]),
];

const OK = 'HTTP/1.1 200 OK¶';

export const RESPONSES: readonly ResponseRow[] = [
  answer('E0', 'a length', `${OK}Content-Length: 2¶¶ok`, {
    forward: `${OK}Content-Length: 2¶`,
    body: 'ok',
    reusable: true,
  }),
  answer('E0', 'chunks with extensions and trailers', `${OK}${C}¶2;x¶ok¶0¶A: b¶¶`, {
    forward: `${OK}${c}`,
    body: '2¶ok¶0¶¶',
    reusable: true,
  }),
  answer('E0', 'no reason phrase', 'HTTP/1.1 200¶Content-Length: 0¶¶', {
    forward: 'HTTP/1.1 200¶Content-Length: 0¶',
    reusable: true,
  }),
  answer('E0', 'Connection: close', `${OK}Connection: close, A¶A: b¶Content-Length: 2¶¶ok`, {
    forward: `${OK}Content-Length: 2¶`,
    body: 'ok',
    reusable: false,
  }),
  answer('E6', 'two responses', `${OK}Content-Length: 2¶¶ok${OK}Content-Length: 4¶¶EVIL`, {
    forward: `${OK}Content-Length: 2¶`,
    body: 'ok',
    reusable: false,
  }),
  answer('E6', 'two responses, the first in chunks', `${OK}${C}¶2¶ok¶0¶¶${OK}Content-Length: 4¶¶EVIL`, {
    forward: `${OK}${c}`,
    body: '2¶ok¶0¶¶',
    reusable: false,
  }),
  // In two writes, the second ends a body that is under way, with something behind it.
  answer('E6', 'bytes behind a length', `${OK}Content-Length: 9¶¶123456789EVIL`, {
    forward: `${OK}Content-Length: 9¶`,
    body: '123456789',
    reusable: false,
  }),
  answer('E6', 'bytes behind chunks', `${OK}${C}¶9¶123456789¶0¶¶E`, {
    forward: `${OK}${c}`,
    body: '9¶123456789¶0¶¶',
    reusable: false,
  }),
  ...faulty('E7', 'CL and TE', 'length_and_encoding', [
    `${OK}Content-Length: 5¶${C}¶0¶¶`,
    `${OK}${C}Content-Length: 5¶¶0¶¶`,
  ]),
  ...faulty('E7', 'two lengths', 'repeated_content_length', [`${OK}Content-Length: 2¶Content-Length: 2¶¶ok`]),
  ...faulty('E7', 'bare LF', 'bare_lf', ['HTTP/1.1 200 OK\nContent-Length: 0\n\n', `${OK}Content-Length: 0\n¶`]),
  ...faulty('E7', 'bare CR', 'bare_cr', [`${OK}A: b\rContent-Length: 0¶¶`]),
  ...faulty('E7', 'NUL', 'bad_field_value', [`${OK}A: b\0¶Content-Length: 0¶¶`]),
  ...faulty('E7', 'a fold', 'folded_field', [`${OK}A: b¶ c¶Content-Length: 0¶¶`]),
  ...faulty('E7', 'a blank before the colon', 'bad_field_name', [`${OK}Content-Length : 0¶¶`]),
  ...faulty('E8', 'an unknown coding', 'bad_transfer_encoding', [`${OK}Transfer-Encoding: xchunked¶¶0¶¶`]),
  ...faulty('E8', 'a real coding', 'unknown_coding', [`${OK}Transfer-Encoding: gzip, chunked¶¶0¶¶`]),
  ...faulty('E9', '204 with a body', 'body_where_none', [
    'HTTP/1.1 204 No Content¶Content-Length: 2¶¶ok',
    `HTTP/1.1 204 No Content¶${C}¶2¶ok¶0¶¶`,
  ]),
  answer('E9', '304 with a length and no body', 'HTTP/1.1 304 Not Modified¶Content-Length: 9¶¶', {
    forward: 'HTTP/1.1 304 Not Modified¶Content-Length: 9¶',
    reusable: true,
  }),
  answer('E9', '304 with bytes', 'HTTP/1.1 304 Not Modified¶Content-Length: 2¶¶ok', {
    forward: 'HTTP/1.1 304 Not Modified¶Content-Length: 2¶',
    reusable: false,
  }),
  {
    ...answer('E9', 'HEAD', `${OK}Content-Length: 9¶¶`, { forward: `${OK}Content-Length: 9¶`, reusable: true }),
    method: 'HEAD',
  },
  {
    ...answer('E9', 'HEAD with bytes', `${OK}Content-Length: 2¶¶ok`, {
      forward: `${OK}Content-Length: 2¶`,
      reusable: false,
    }),
    method: 'HEAD',
  },
  answer('E10', '16 interim responses', `${'HTTP/1.1 103 Early Hints¶A: b¶¶'.repeat(16)}${OK}Content-Length: 2¶¶ok`, {
    forward: `${'HTTP/1.1 103 Early Hints¶A: b¶¶'.repeat(16)}${OK}Content-Length: 2¶`,
    body: 'ok',
    reusable: true,
  }),
  answer('E10', 'an interim response that says close', `HTTP/1.1 103 X¶Connection: close¶¶${OK}Content-Length: 2¶¶ok`, {
    forward: `HTTP/1.1 103 X¶¶${OK}Content-Length: 2¶`,
    body: 'ok',
    reusable: false,
  }),
  ...faulty('E10', '17 interim responses', 'too_many_interim', [
    `${'HTTP/1.1 100 Continue¶¶'.repeat(17)}${OK}Content-Length: 0¶¶`,
  ]),
  ...faulty('E11', 'an unasked 101', 'unasked_upgrade', [
    'HTTP/1.1 101 Switching Protocols¶¶',
    'HTTP/1.1 101 Switching Protocols¶Connection: upgrade¶Upgrade: websocket¶¶',
    'HTTP/1.1 101 Switching Protocols¶Connection: upgrade¶Upgrade: h2c¶¶',
  ]),
  ...faulty('E11', 'statuses', 'bad_status', [
    'HTTP/1.1 000 X¶Content-Length: 0¶¶',
    'HTTP/1.1 999 X¶Content-Length: 0¶¶',
    'HTTP/1.1 20 X¶Content-Length: 0¶¶',
    'HTTP/1.1 2000 X¶Content-Length: 0¶¶',
    'HTTP/1.1 -20 X¶Content-Length: 0¶¶',
  ]),
  ...faulty('E11', 'versions', 'bad_version', [
    'HTTP/2.0 200 OK¶Content-Length: 0¶¶',
    'HTTP/1.2 200 OK¶¶',
    'SSH-2.0-x¶¶',
  ]),
  {
    ...answer('E13', 'until the end', `${OK}A: b¶¶all of it`, {
      forward: `${OK}A: b¶${c}`,
      body: '9¶all of it¶0¶¶',
      reusable: false,
    }),
    close: true,
  },
  {
    ...answer('E13', 'HTTP/1.0 until the end', 'HTTP/1.0 200 OK¶¶x', {
      forward: `${OK}${c}`,
      body: '1¶x¶0¶¶',
      reusable: false,
    }),
    close: true,
  },
  { ...faulty('E14', 'cut', 'cut', [`${OK}Content-Length: 5¶¶ab`])[0], close: true } as ResponseRow,
  { ...faulty('E14', 'cut chunks', 'cut', [`${OK}${C}¶5¶ab`])[0], close: true } as ResponseRow,
  { ...faulty('E14', 'cut head', 'cut', [`${OK}Content-`])[0], close: true } as ResponseRow,
  ...faulty('E15', 'a big head', 'head_too_large', [`${OK}A: ${'x'.repeat(65_000)}¶B: ${'x'.repeat(2_000)}¶¶`]),
];

function row(id: string, what: string, bytes: string, want: readonly Outcome[]): RequestRow {
  return { id, what, bytes: w(bytes), want: want.map(plain) };
}

function plain(outcome: Outcome): Outcome {
  if (!('forward' in outcome)) return outcome;
  const { forward, body, outbound } = outcome;
  return {
    forward: w(forward),
    ...(body === undefined ? {} : { body: w(body) }),
    ...(outbound === undefined ? {} : { outbound: w(outbound) }),
  };
}

function refused(id: string, what: string, refuse: Rejection, all: readonly string[]): RequestRow[] {
  return all.map((bytes) => row(id, what, bytes, [{ refuse }]));
}

/** A request with this body; `refuse` when it must not go on. */
function chunked(id: string, what: string, body: string, passed: string | undefined, refuse?: Rejection): RequestRow {
  const want: Outcome = refuse === undefined ? { forward: `${P}${c}`, body: passed ?? '' } : { refuseInBody: refuse };
  return row(id, what, `${P}${C}¶${body}`, [want]);
}

function answer(id: string, what: string, bytes: string, want: ResponseRow['want']): ResponseRow {
  if ('fault' in want) return { id, what, bytes: w(bytes), want };
  const { forward, body, reusable } = want;
  return { id, what, bytes: w(bytes), want: { forward: w(forward), body: w(body ?? ''), reusable } };
}

function faulty(id: string, what: string, fault: ResponseFault, all: readonly string[]): ResponseRow[] {
  return all.map((bytes) => answer(id, what, bytes, { fault }));
}

function te(rest: string): string {
  return `${P}Transfer-Encoding${rest}¶¶0¶¶`;
}

function length(value: string): string {
  return `${P}Content-Length: ${value}¶¶abc`;
}

function field(line: string): string {
  return `${G}${line}¶¶`;
}
