import t from 'tap';
import { trustedFronts } from '../../../src/sidecar/front.ts';
import { encodeProxyHeader, parseProxyHeader } from '../../../src/sidecar/proxy-header.ts';

t.test('what is written is what proxy-protocol.txt 2.2 says, byte by byte', async (t) => {
  const bytes = encodeProxyHeader({
    source: '10.0.3.7:51544',
    destination: '10.0.0.5:8443',
    tls: { version: 'TLSv1.3', cipher: 'X', spiffeId: 'spiffe://td/ns/default/sa/web' },
  });
  const head = '0d0a0d0a000d0a515549540a' + '21' + '11';
  const addresses = '0a000307' + '0a000005' + 'c958' + '20fb';
  const hex = (text: string) => Buffer.from(text).toString('hex');
  const ssl = `07${'00000000'}21${'0007'}${hex('TLSv1.3')}22${'001d'}${hex('spiffe://td/ns/default/sa/web')}23${'0001'}${hex('X')}`;
  const value = `20${(ssl.length / 2).toString(16).padStart(4, '0')}${ssl}`;
  const length = ((addresses.length + value.length) / 2).toString(16).padStart(4, '0');
  t.equal(bytes.toString('hex'), head + length + addresses + value);
  t.same(parseProxyHeader(Buffer.concat([bytes, Buffer.from('rest')])), {
    length: bytes.length,
    source: '10.0.3.7:51544',
  });
  for (let n = 0; n < bytes.length; n++) t.equal(parseProxyHeader(bytes.subarray(0, n)), 'more');
});

t.test('families', async (t) => {
  const six = encodeProxyHeader({ source: '[2001:db8::7]:1', destination: '10.0.0.5:2' });
  t.equal(six[13], 0x21);
  t.match(parseProxyHeader(six), { source: '[2001:db8:0:0:0:0:0:7]:1' });
  t.match(parseProxyHeader(encodeProxyHeader({ source: '::ffff:10.0.0.1:7', destination: '10.0.0.5:2' })), {
    source: '10.0.0.1:7',
  });
  const none = encodeProxyHeader({ source: 'unknown', destination: '/run/app.sock' });
  t.same(parseProxyHeader(none), { length: 16, source: undefined });
  const local = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');
  t.same(parseProxyHeader(local), { length: 16, source: undefined });
});

t.test('what is no header of version 2', async (t) => {
  for (const [name, hex] of [
    ['TLS', '1603010200'],
    ['version 1', Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\n').toString('hex')],
    ['another version', '0d0a0d0a000d0a515549540a31110000'],
    ['longer than any', '0d0a0d0a000d0a515549540a2111ffff'],
    ['addresses cut short', '0d0a0d0a000d0a515549540a2111000401020304'],
  ] as const) {
    t.equal(parseProxyHeader(Buffer.from(hex, 'hex')), 'none', name);
  }
});

t.test('who may speak for others', async (t) => {
  const trusted = trustedFronts(['10.1.0.0/16', '192.168.0.9', 'fd00::/8']);
  for (const yes of ['10.1.2.3', '::ffff:10.1.2.3', '192.168.0.9', 'fd12::1%eth0']) t.equal(trusted(yes), true, yes);
  for (const no of ['10.2.0.1', '192.168.0.8', '2001:db8::1', '', undefined]) t.equal(trusted(no), false, String(no));
});
