import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { createLogger, type LOG_LEVELS, scrub } from '../../../src/base/log.ts';

function recording(level: (typeof LOG_LEVELS)[number] = 'info') {
  const lines: string[] = [];
  const log = createLogger({ level, stream: { write: (line: string) => lines.push(line) } });
  return { log, lines };
}

const TOKEN = 'slk_eyJ2IjoxLCJpZCI6IjlhIn0.kskPOQ-A4XOEPqaKua633hqVKw';
const KEY = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});
/** A stretch of the key's base64, long enough that nothing else holds it by chance. */
const SECRET = KEY.privateKey.slice(45, 75);

t.test('one JSON line an event, with its time and without the host', (t) => {
  const { log, lines } = recording();
  log.info({ event: 'renewed', serial: '0a' }, 'renewed');
  log.debug({ event: 'detail' }, 'not shown');
  t.equal(lines.length, 1);
  const entry: Record<string, unknown> = JSON.parse(lines[0] ?? '');
  t.match(entry, { event: 'renewed', serial: '0a', msg: 'renewed', time: /^\d{4}-\d\d-\d\dT.*Z$/ });
  t.notOk('hostname' in entry || 'pid' in entry);
  t.end();
});

t.test('secrets are removed wherever they stand', (t) => {
  const places: ReadonlyArray<readonly [string, object, string]> = [
    ['a field named like one', { token: TOKEN, passphrase: 'hunter2hunter2' }, 'x'],
    ['one level down', { options: { keyPem: KEY.privateKey, password: 'hunter2hunter2' } }, 'x'],
    ['deep in a structure', { a: { b: { c: [KEY.privateKey, TOKEN] } } }, 'x'],
    ['in the sentence', {}, `could not read ${KEY.privateKey} with ${TOKEN}`],
    ['in an error and its cause', { err: new Error(KEY.privateKey, { cause: new Error(TOKEN) }) }, 'x'],
    ['in a header', { header: `authorization: Bearer ${'abc.def-ghi'}` }, 'x'],
    ['cut short', {}, `${KEY.privateKey.slice(0, 90)}" and more`],
    ['cut short at the end', {}, KEY.privateKey.slice(0, 90)],
  ];
  for (const [name, fields, message] of places) {
    const { log, lines } = recording();
    log.error(fields, message);
    const text = lines.join('');
    t.match(text, '[redacted]', name);
    for (const secret of [SECRET, TOKEN.slice(8), 'hunter2', 'abc.def-ghi']) t.notMatch(text, secret, `${name}: gone`);
    t.doesNotThrow(() => JSON.parse(text), `${name}: still JSON`);
  }
  t.end();
});

t.test('what is no secret stays', (t) => {
  const text = `${KEY.publicKey} slk_ -----BEGIN CERTIFICATE----- spiffe://ai-teddy.local/ns/default/sa/web`;
  t.equal(scrub(text), text);
  t.end();
});
