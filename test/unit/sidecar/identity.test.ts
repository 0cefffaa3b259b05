import t from 'tap';
import { createLogger } from '../../../src/base/log.ts';
import type { Certificate } from '../../../src/pki/certificate.ts';
import type { IdentityMaterial } from '../../../src/pki/material.ts';
import { createIdentityHolder } from '../../../src/sidecar/identity.ts';

const material = (leaf: string, roots = 'r1', chain: string[] = []) =>
  ({
    leaf: certificate(leaf),
    chain: chain.map(certificate),
    bundle: { sha256: roots },
    spiffeId: { uri: 'spiffe://td/ns/default/sa/orders' },
  }) as unknown as IdentityMaterial;

const certificate = (name: string) =>
  ({ fingerprint256: name, serial: name, notBefore: 1, notAfter: 2 }) as unknown as Certificate;

const lines: Record<string, unknown>[] = [];
const log = createLogger({ level: 'info', stream: { write: (line: string) => lines.push(JSON.parse(line)) } });

t.test('an identity is frozen and counted from 1', async (t) => {
  const holder = createIdentityHolder({ log });
  t.equal(holder.current(), undefined);
  t.equal(holder.offer(material('a')), true);
  const first = holder.current();
  t.match(first, {
    generation: 1,
    spiffeId: 'spiffe://td/ns/default/sa/orders',
    serial: 'a',
    trustGeneration: 'r1',
    notBefore: 1,
    notAfter: 2,
  });
  t.ok(Object.isFrozen(first));
  holder.offer(material('b'));
  t.equal(holder.current()?.generation, 2);
  t.equal(first?.generation, 1, 'the old snapshot stays what it was');
});

t.test('the same content is no new identity; another leaf, chain or bundle is', async (t) => {
  const holder = createIdentityHolder({ log });
  const heard: number[] = [];
  holder.subscribe((identity) => heard.push(identity.generation));
  t.equal(holder.offer(material('a')), true);
  t.equal(holder.offer(material('a')), false);
  t.equal(holder.offer(material('a', 'r2')), true);
  t.equal(holder.offer(material('a', 'r2', ['issuer'])), true);
  t.equal(holder.offer(material('b', 'r2', ['issuer'])), true);
  t.same(heard, [1, 2, 3, 4]);
});

t.test('subscribers hear after the swap, and one that throws keeps nobody from hearing', async (t) => {
  const holder = createIdentityHolder({ log });
  const heard: string[] = [];
  holder.subscribe(() => {
    throw new Error('broken part');
  });
  const stop = holder.subscribe((identity) => {
    t.equal(holder.current(), identity);
    heard.push(identity.serial);
  });
  lines.length = 0;
  holder.offer(material('a'));
  t.same(heard, ['a']);
  t.match(lines, [{ event: 'identity_subscriber_failed', generation: 1, err: { message: 'broken part' } }]);
  stop();
  holder.offer(material('b'));
  t.same(heard, ['a'], 'nothing after the end of the subscription');
});

t.test('a subscriber that offers: nobody ends on the older identity', async (t) => {
  const holder = createIdentityHolder({ log });
  const heard: string[] = [];
  holder.subscribe((identity) => {
    if (identity.serial === 'a') holder.offer(material('b'));
  });
  holder.subscribe((identity) => heard.push(identity.serial));
  holder.offer(material('a'));
  t.same(heard, ['b']);
  t.equal(holder.current()?.serial, 'b');
});
