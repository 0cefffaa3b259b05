import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { isSidelockError } from '../../../src/base/errors.ts';
import { parseBundle } from '../../../src/pki/bundle.ts';
import { type Certificate, parseCertificate } from '../../../src/pki/certificate.ts';
import { readDer } from '../../../src/pki/der.ts';
import { verifyPeer } from '../../../src/pki/peer.ts';
import { PEER_REASONS } from '../../../src/pki/peer-reasons.ts';
import { dns, makeCa, makeLeaf, makeRoot, nameConstraints, TRUST_DOMAIN } from '../../support/badcert.ts';

const now = Date.now();
const root = makeRoot();
const ca = makeCa(root, { extensions: { nc: nameConstraints({ permitted: [dns('ai-teddy.local')] }) } });
const leaf = makeLeaf(ca);
const bundle = parseBundle(root.pem, 'ca.pem', now);
const reasons: ReadonlySet<string> = new Set(PEER_REASONS);

const verdict = (...chain: Buffer[]) =>
  verifyPeer({ chain, bundle, now, purpose: 'client', trustDomain: TRUST_DOMAIN });

function flip(der: Buffer, bit: number): Buffer {
  const changed = Buffer.from(der);
  changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return changed;
}

/** mulberry32: the same numbers on every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) % below;
  };
}

t.test('the chain itself is accepted', async (t) => t.equal(verdict(leaf.der, ca.der).ok, true));

t.test('no flipped bit of leaf or intermediate is accepted, and each has a reason', async (t) => {
  const told = new Map<string, number>();
  let accepted = 0;
  for (const which of ['leaf', 'ca'] as const) {
    const { der } = which === 'leaf' ? leaf : ca;
    for (let bit = 0; bit < der.length * 8; bit += which === 'leaf' ? 1 : 7) {
      const bad = flip(der, bit);
      const found = which === 'leaf' ? verdict(bad, ca.der) : verdict(leaf.der, bad);
      if (found.ok || !reasons.has(found.reason)) accepted++;
      else told.set(found.reason, (told.get(found.reason) ?? 0) + 1);
    }
  }
  t.equal(accepted, 0);
  t.ok(told.size >= 5, `reasons: ${[...told].map(([reason, count]) => `${reason} ${count}`).join(', ')}`);
});

t.test('no truncation, splice or run of random octets is accepted or throws', async (t) => {
  const random = seeded(4);
  let accepted = 0;
  for (let length = 0; length < leaf.der.length; length++) {
    if (verdict(leaf.der.subarray(0, length), ca.der).ok) accepted++;
  }
  for (let round = 0; round < 1_000; round++) {
    const bad = Buffer.from(leaf.der);
    const [from, to, size] = [random(bad.length), random(bad.length), 1 + random(16)];
    if (round % 2 === 0) bad.copyWithin(to, from, from + size);
    else for (let i = 0; i < size; i++) bad[random(bad.length)] = random(256);
    if (!bad.equals(leaf.der) && verdict(bad, ca.der).ok) accepted++;
  }
  t.equal(accepted, 0);
});

t.test('what we decode of damaged DER, OpenSSL decodes, and to the same values', async (t) => {
  let [both, neither, oursOnly, theirsOnly, different] = [0, 0, 0, 0, 0];
  for (let bit = 0; bit < leaf.der.length * 8; bit += 3) {
    const bad = flip(leaf.der, bit);
    const theirs = opensslReads(bad);
    const ours = weRead(bad);
    if (ours !== undefined && theirs !== undefined) {
      both++;
      if (!agree(ours, theirs)) different++;
    } else if (ours !== undefined) oursOnly++;
    else if (theirs !== undefined) theirsOnly++;
    else neither++;
  }
  t.equal(oursOnly, 0);
  t.equal(different, 0);
  t.ok(both > 100 && neither > 100, `both ${both}, neither ${neither}, only OpenSSL ${theirsOnly}`);
});

t.test('the DER reader ends on any input', async (t) => {
  const random = seeded(7);
  const walk = (node: ReturnType<typeof readDer>): number =>
    node.constructed ? node.children.reduce((sum, child) => sum + walk(child), 1) : 1;
  for (let round = 0; round < 3_000; round++) {
    const bytes = Buffer.from(Array.from({ length: random(40) }, () => (random(2) === 0 ? 0x30 : random(64))));
    try {
      walk(readDer(bytes));
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'DerError') throw error;
    }
  }
  t.pass('3,000 inputs');
});

function opensslReads(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

function weRead(der: Buffer): Certificate | undefined {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (isSidelockError(error, 'SL-PEM-004')) return undefined;
    throw error;
  }
}

function agree(ours: Certificate, theirs: X509Certificate): boolean {
  const uri = ours.sans?.find(({ type }) => type === 'uri')?.value;
  // Node writes these three with escapes of its own.
  const sameSan = uri === undefined || /[\\,"]/.test(uri) || theirs.subjectAltName?.includes(uri) === true;
  return (
    BigInt(`0x${ours.serial.replace('-', '')}`) === BigInt(`0x${theirs.serialNumber.replace('-', '')}`) &&
    ours.notBefore === theirs.validFromDate.getTime() &&
    ours.notAfter === theirs.validToDate.getTime() &&
    (ours.isCa === true) === theirs.ca &&
    sameSan
  );
}
