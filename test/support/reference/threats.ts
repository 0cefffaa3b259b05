import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { table } from './table.ts';

/** Attacks that a test must hold, by the ids that stand in the titles of those tests. */
const THREATS: Readonly<Record<string, string>> = {
  Z1: 'HTTP/2 to HTTP/1.1: more content than content-length says',
  Z2: 'less content than content-length says',
  Z3: 'fields, pseudo fields and targets that break RFC 9113',
  Z5: 'names and values with bytes that HTTP/1.1 would read as more fields',
  Z7: 'a method in lower case',
  Z9: 'a path with a fragment, or with bytes above 0x7f',
  Z11: ':authority and another host; several hosts',
  Z13: 'CONNECT, plain and extended',
  Z14: 'trailers with pseudo fields or framing',
  Z15: 'cookies in pieces',
  Z16: 'more fields than allowed',
  Z17: 'a request that is reset, however, before its end',
  Z18: 'answers with fields that HTTP/2 forbids',
  Z19: 'gRPC answers that end without a status',
  X1: 'a head, or a preface, that never ends',
  X2: 'a body that does not come',
  X3: 'a reader that takes nothing',
  X4: 'flow control windows of zero',
  X5: 'streams that are reset as they begin',
  X6: 'frames that make us reset streams',
  X7: 'CONTINUATION without end',
  X8: 'header blocks that grow when they are decoded',
  X9: 'SETTINGS in a flood',
  X10: 'PING in a flood',
  X11: 'PRIORITY, unknown and empty frames in a flood',
  X14: 'more streams than allowed',
  X15: 'header lists of 16 to 70 KB',
  X16: 'ten thousand requests in one write',
  X17: 'connections that are hoarded, and idle ones',
  X18: 'one peer in a flood while another asks',
  X19: 'five thousand half-open handshakes',
  X20: 'handshakes that fail, in a flood',
  X21: 'renegotiation of TLS 1.2',
  X22: 'KeyUpdates, and records of nothing or of one byte',
  X24: 'huge certificates and chains',
  X26: 'one upstream that takes all connections',
  X28: 'WebSockets with tiny frames, slow readers, and idle ones',
  X29: 'a log filled by refusals',
  C71: 'a revoked certificate, also of an open connection',
  C72: 'a revocation list that is out of date, of another issuer, or falsely signed',
  C73: 'an empty revocation list',
  C74: 'two lists of one issuer',
  C75: 'garbage in place of a list',
  C76: 'a list with a lower number',
  C77: 'a ticket from before the removal of its root',
  C78: 'a ticket from before its revocation',
  C79: 'a ticket whose certificate has ended since',
  C80: 'a ticket for another name',
  C81: 'tickets where none are given',
  C82: 'names in SNI, odd and foreign ones',
  C83: 'ALPN without a protocol in common',
  C84: 'a client without ALPN',
  C85: 'TLS 1.2 and older',
  C86: 'no client certificate',
  C87: 'certificates of the manager and of devices',
  C88: "the sidecar's own certificate",
  C89: 'a certificate that ends while its connection is open',
  M1: 'a request with the names of others',
  M2: 'a request that wants to be a CA, or other purposes',
  M3: 'two requests for extensions in one',
  M4: 'subjects with NUL, line ends, two common names',
  M5: 'a proof of possession that does not verify',
  M6: 'requests with EC and Ed25519 keys',
  M7: 'weak RSA keys',
  M8: 'points that are not on their curve',
  M9: 'the key of the CA, of another identity, of a revoked certificate',
  M10: 'requests of a megabyte',
  M11: 'a thousand ASN.1 bombs',
  M12: 'PEM with more, or other, than one block',
  M13: 'what is no DER, and bytes behind it',
  M20: 'a join token used twice, at once, and over a crash',
  M21: 'a token of one service for another, of a device for a service',
  M22: 'tokens that are expired, forged, cut, or of another algorithm',
  M23: 'a manager with another root',
  M24: 'tokens that are guessed',
  M30: 'an enrolment or a renewal that was recorded',
  M31: 'renewal by a revoked, expired, replaced certificate, or by that of a device',
  M32: 'a renewal to another identity, or to a weaker key',
  M33: 'a header that says who calls',
  M34: 'EST without proof, or under another name',
  M36: 'chains of many and of huge keys; more requests than can be signed',
  M37: 'names that could become paths, markup or code',
  M40: 'serial numbers that repeat',
  M41: 'a client that did not hear the answer',
  M42: 'a crash in the middle of a step',
  M43: 'an older copy of the storage',
  M44: 'an audit log that was cut, edited or reordered',
  M45: 'backups that are damaged, or not ours',
  M46: 'a storage that others may enter',
  M47: 'a clock that is wrong',
  M48: 'an issuer that ends before its leaf',
  M50: 'admin calls by others than the operator',
  F24: 'the key of the CA is stolen: a drill with 25 sidecars, in its long form with 100',
  F26: 'a thousand sidecars that renew at once',
  F34: 'two managers on one storage',
};

const TESTS = join(import.meta.dirname, '../..');

/** The files of tests that name each id outside comments. */
export function heldBy(): ReadonlyMap<string, readonly string[]> {
  const held = new Map(Object.keys(THREATS).map((id): [string, string[]] => [id, []]));
  const files = readdirSync(TESTS, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.test.ts'));
  for (const file of files.toSorted()) {
    const code = readFileSync(join(TESTS, file), 'utf8').replace(/^ *(?:\/?\*|\/\/).*$/gm, '');
    for (const id of new Set(code.match(/\b[ZXCMF]\d{1,2}\b/g))) held.get(id)?.push(`test/${file}`);
  }
  return held;
}

export function threatsTable(): string {
  const held = heldBy();
  const rows = Object.entries(THREATS).map(([id, what]) => [
    `\`${id}\``,
    what,
    (held.get(id) ?? []).map((file) => `\`${file}\``).join(', '),
  ]);
  return table(['id', 'attack', 'held by'], rows);
}
