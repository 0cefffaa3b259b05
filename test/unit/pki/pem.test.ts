import fc from 'fast-check';
import t from 'tap';
import { isSidelockError, type SidelockError } from '../../../src/base/errors.ts';
import { certificatesToPem, pemBlocks, pemEncode } from '../../../src/pki/pem.ts';

const block = pemEncode('CERTIFICATE', Buffer.alloc(90, 7));

function failure(text: string | Buffer): SidelockError {
  try {
    pemBlocks(text, 'x.pem');
  } catch (error) {
    if (isSidelockError(error)) return error;
    throw error;
  }
  throw new Error('expected a SidelockError');
}

t.test('what is encoded is read back, with CRLF and text between blocks too', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { minLength: 1, maxLength: 4 }), (list) => {
      const text = list.map((bytes) => `subject=/CN=x\n${pemEncode('PRIVATE KEY', Buffer.from(bytes))}\n`).join('');
      for (const form of [text, text.replaceAll('\n', '\r\n'), Buffer.from(text)]) {
        t.same(
          pemBlocks(form, 'x').map(({ der }) => der),
          list.map((bytes) => Buffer.from(bytes)),
        );
      }
    }),
    { numRuns: 50 },
  );
  t.same(
    pemBlocks(`# ours\n${block}\n${block}`, 'x').map(({ label, line }) => [label, line]),
    [
      ['CERTIFICATE', 2],
      ['CERTIFICATE', 7],
    ],
  );
  t.ok(block.split('\n').every((line) => line.length <= 64));
});

t.test('certificates are written one after the other, in their order', (t) => {
  const certificates = [{ der: Buffer.from('one') }, { der: Buffer.from('two') }];
  const pem = certificatesToPem(certificates);
  t.equal(pem, certificates.map(({ der }) => pemEncode('CERTIFICATE', der)).join(''));
  t.same(
    pemBlocks(pem, 'both').map(({ der }) => der.toString()),
    ['one', 'two'],
  );
  t.equal(certificatesToPem([]), '');
  t.end();
});

t.test('each kind of damage has its code, and names file and line', async (t) => {
  const [begin = '', first = '', second = '', ...end] = block.split('\n');
  const rows: ReadonlyArray<readonly [string, string | Buffer, string, RegExp, number | undefined]> = [
    ['empty', ' \n', 'SL-PEM-001', /empty/, undefined],
    ['DER', Buffer.from([0x30, 0x03, 0x02, 0x01, 0x00]), 'SL-PEM-001', /DER/, undefined],
    ['text', 'hello\n', 'SL-PEM-001', /no BEGIN/, undefined],
    ['cut before END', [begin, first, ''].join('\n'), 'SL-PEM-003', /inside the CERTIFICATE block of line 1/, 2],
    ['cut inside END', block.slice(0, -8), 'SL-PEM-003', /no END line/, 4],
    ['END alone', `${end[0]}\n`, 'SL-PEM-004', /no BEGIN/, undefined],
    ['END of another label', block.replace('END CERTIFICATE', 'END KEY'), 'SL-PEM-004', /no END line/, 4],
    ['two BEGIN lines', `${begin}\n${block}`, 'SL-PEM-004', /no END line/, 2],
    ['byte order mark', `\ufeff${block}`, 'SL-PEM-004', /other characters/, 1],
    ['indented', ` ${block}`, 'SL-PEM-004', /other characters/, 1],
    ['headers', [begin, 'Proc-Type: 4,ENCRYPTED', first].join('\n'), 'SL-PEM-004', /headers/, 2],
    ['empty line', [begin, '', first, second, ...end].join('\n'), 'SL-PEM-004', /empty line/, 2],
    ['no base64', [begin, '%%%', second, ...end].join('\n'), 'SL-PEM-004', /not base64/, 2],
    ['padding inside', [begin, 'AA==', first, second, ...end].join('\n'), 'SL-PEM-004', /base64/, 1],
    ['spare bits', [begin, 'AB==', ...end].join('\n'), 'SL-PEM-004', /base64/, 1],
    ['nothing inside', [begin, ...end].join('\n'), 'SL-PEM-004', /base64/, 1],
  ];
  for (const [name, text, code, why, line] of rows) {
    const error = failure(text);
    t.equal(error.code, code, name);
    t.match(error.why, why, name);
    t.match(error.message, /x\.pem/, name);
    if (line !== undefined) t.equal(error.data['line'], line, name);
  }
});

t.test('no message repeats what stands in the file', async (t) => {
  for (const text of [block.replace('BwcH', 'BwSECRET!'), `SECRET!${block}`, block.slice(0, 60)]) {
    const { message, why } = failure(text);
    t.notMatch(`${message} ${why}`, /SECRET|Bwc/);
  }
});

t.test('M12: large and hostile text is refused or read in one pass', async (t) => {
  t.equal(failure(`-----BEGIN CERTIFICATE-----\nX: ${'a'.repeat(5_000_000)}\n`).code, 'SL-PEM-004');
  t.equal(failure('-----BEGIN CERTIFICATE-----\n'.repeat(11_000)).code, 'SL-PEM-004');
  const tiny = pemEncode('X', Buffer.from([0]));
  t.equal(pemBlocks(tiny.repeat(20_000), 'x').length, 20_000);
});
