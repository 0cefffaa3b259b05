import t from 'tap';
import {
  DerError,
  readBitString,
  readBoolean,
  readDer,
  readInteger,
  readOid,
  readSmallInteger,
  readTime,
  TAG,
  writeDer,
} from '../../../src/pki/der.ts';
import { writeOid } from '../../support/oid.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const node = (text: string) => readDer(hex(text));

t.test('an element is read as views of the input', async (t) => {
  const input = hex('30 06 02 01 05 04 01 aa');
  const sequence = readDer(input);
  t.equal(sequence.tag, TAG.sequence);
  t.equal(sequence.constructed, true);
  t.same(
    sequence.children.map((c) => c.tag),
    [TAG.integer, TAG.octetString],
  );
  t.equal(sequence.children[1]?.content.buffer, input.buffer, 'not a copy');
  t.same(sequence.children[0]?.raw, hex('02 01 05'));
});

t.test('what is not DER is refused', async (t) => {
  const cases: Record<string, string> = {
    nothing: '',
    'a lone tag': '30',
    'indefinite length': '30 80 00 00',
    'a long form where the short one does': '04 81 01 aa',
    'a length with a leading zero': `04 82 00 81 ${'aa'.repeat(129)}`,
    'a length beyond the data': '30 05 02 01 05',
    'a length of 2^31': '30 84 80 00 00 00',
    'a length in 8 octets': '30 88 00 00 00 00 00 00 00 01 00',
    'a length cut short': '30 82 01',
    'bytes after the end': '02 01 05 00',
    'a tag number above 30': '1f 01 00',
  };
  for (const [name, bytes] of Object.entries(cases)) t.throws(() => node(bytes), DerError, name);
});

t.test('children of a value, broken children and deep nesting are refused when looked at', async (t) => {
  t.throws(() => node('04 02 05 00').children, DerError);
  t.throws(() => node('30 02 04 05').children, DerError);
  let bomb: Buffer = Buffer.alloc(0);
  for (let depth = 0; depth < 300; depth++) bomb = writeDer(TAG.sequence, bomb);
  t.throws(() => {
    for (let at = readDer(bomb); ; ) at = at.children[0] ?? at;
  }, /deeper than 16/);
});

t.test('16 levels below the outermost are read, 17 are not', async (t) => {
  const nested = (levels: number) => {
    let bytes: Buffer = writeDer(TAG.null);
    for (let level = 0; level < levels; level++) bytes = writeDer(TAG.sequence, bytes);
    return readDer(bytes);
  };
  const depth = (at: ReturnType<typeof readDer>): number => {
    const [child] = at.constructed ? at.children : [];
    return child === undefined ? 0 : 1 + depth(child);
  };
  t.equal(depth(nested(16)), 16);
  t.throws(() => depth(nested(17)), DerError);
});

t.test('integers are minimal', async (t) => {
  t.same(readInteger(node('02 02 00 80'), 'x'), hex('00 80'));
  t.equal(readSmallInteger(node('02 02 01 00'), 'x'), 256);
  t.equal(readSmallInteger(node('02 01 00'), 'x'), 0);
  t.equal(readSmallInteger(node('02 04 7f ff ff ff'), 'x'), 2 ** 31 - 1);
  for (const bad of ['02 00', '02 02 00 01', '02 03 00 00 01', '02 02 ff 80', '04 01 01']) {
    t.throws(() => readInteger(node(bad), 'x'), DerError, bad);
  }
  for (const bad of ['02 01 80', '02 05 01 00 00 00 00', '02 04 80 00 00 00']) {
    t.throws(() => readSmallInteger(node(bad), 'x'), DerError, bad);
  }
  t.throws(() => readInteger(undefined, 'serial'), /serial is missing/);
});

t.test('booleans are 00 or ff', async (t) => {
  t.equal(readBoolean(node('01 01 ff'), 'x'), true);
  t.equal(readBoolean(node('01 01 00'), 'x'), false);
  for (const bad of ['01 01 01', '01 00', '01 02 ff ff', '02 01 ff']) t.throws(() => readBoolean(node(bad), 'x'), bad);
});

t.test('OIDs are written and read', async (t) => {
  for (const oid of [
    '2.5.29.17',
    '1.2.840.113549.1.1.11',
    '1.3.101.112',
    '2.999.3',
    '0.9.2342',
    '1.3.6.1.4.1.4294967295',
  ]) {
    t.equal(readOid(readDer(writeOid(oid)), 'x'), oid);
  }
  t.equal(readOid(node('06 0b 69 ff ff ff ff ff ff ff ff ff 7f'), 'x').split('.').length, 3, 'a huge arc is no error');
  for (const bad of ['06 00', '06 02 80 01', '06 02 55 80', '06 02 55 81', `06 41 ${'01'.repeat(65)}`]) {
    t.throws(() => readOid(node(bad), 'x'), DerError, bad);
  }
});

t.test('bit strings have their unused bits clear', async (t) => {
  t.same(readBitString(node('03 02 05 a0'), 'x'), { bits: hex('a0'), unused: 5 });
  t.same(readBitString(node('03 02 07 80'), 'x'), { bits: hex('80'), unused: 7 });
  t.same(readBitString(node('03 01 00'), 'x'), { bits: hex(''), unused: 0 });
  for (const bad of ['03 00', '03 01 01', '03 02 08 00', '03 02 05 b0']) {
    t.throws(() => readBitString(node(bad), 'x'), DerError, bad);
  }
});

t.test('times are those of RFC 5280', async (t) => {
  const time = (tag: number, text: string) => readTime(readDer(writeDer(tag, Buffer.from(text))), 'notAfter');
  t.equal(time(TAG.utcTime, '491231235959Z'), Date.UTC(2049, 11, 31, 23, 59, 59));
  t.equal(time(TAG.utcTime, '500101000000Z'), Date.UTC(1950, 0, 1));
  t.equal(time(TAG.generalizedTime, '99991231235959Z'), Date.UTC(9999, 11, 31, 23, 59, 59));
  t.equal(time(TAG.generalizedTime, '00010101000000Z'), new Date('0001-01-01T00:00:00Z').getTime());
  const bad: Array<[number, string]> = [
    [TAG.utcTime, '260101000000'],
    [TAG.utcTime, '2601010000Z'],
    [TAG.utcTime, '260101000000+0100'],
    [TAG.utcTime, '20260101000000Z'],
    [TAG.utcTime, '260230000000Z'],
    [TAG.utcTime, '260100000000Z'],
    [TAG.utcTime, '260101240000Z'],
    [TAG.utcTime, '260101006000Z'],
    [TAG.utcTime, '260101000060Z'],
    [TAG.generalizedTime, '20260101000000.5Z'],
    [TAG.generalizedTime, '260101000000Z'],
    [TAG.octetString, '260101000000Z'],
  ];
  for (const [tag, text] of bad) t.throws(() => time(tag, text), DerError, text);
});

t.test('lengths are written in their shortest form', async (t) => {
  for (const size of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
    const bytes = writeDer(TAG.octetString, Buffer.alloc(size, 7));
    t.equal(readDer(bytes).content.length, size);
  }
});
