import { createCipheriv, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { duplexPair } from 'node:stream';
import { connect } from 'node:tls';
import type { Test } from 'tap';
import type { Trio } from './identity-files.ts';

const APPLICATION_DATA = 23;
const HANDSHAKE = 22;
const KEY_UPDATE = Buffer.from([24, 0, 0, 1, 1]);

/**
 * A client of TLS 1.3 with a certificate that writes its records itself once the handshake is done: OpenSSL would write
 * none that is empty, and no second KeyUpdate before the first was answered (RFC 8446 4.6.3, 5.1).
 */
export async function tlsRecords(t: Pick<Test, 'teardown'>, port: number, identity: Trio) {
  const tcp = connectTcp({ port, host: '127.0.0.1', noDelay: true });
  const [near, far] = duplexPair();
  const tls = connect({
    socket: near,
    ...identity,
    ciphers: 'TLS_AES_128_GCM_SHA256',
    checkServerIdentity: () => undefined,
  });
  for (const one of [tcp, near, far, tls]) one.on('error', () => {});
  let secret: Buffer = Buffer.alloc(0);
  tls.on('keylog', (line: Buffer) => {
    const [label, , hex = ''] = line.toString('latin1').trim().split(' ');
    if (label === 'CLIENT_TRAFFIC_SECRET_0') secret = Buffer.from(hex, 'hex');
  });
  far.on('data', (chunk: Buffer) => tcp.write(chunk));
  tcp.on('data', (chunk: Buffer) => far.write(chunk));
  t.teardown(() => tcp.destroy());
  let over = false;
  const closed = new Promise<void>((resolve) => {
    tcp.once('close', () => {
      over = true;
      resolve();
    });
  });
  await once(tls, 'secureConnect');
  let sequence = 0n;

  const seal = (type: number, content: Buffer): Buffer => {
    const head = Buffer.from([APPLICATION_DATA, 3, 3, 0, 0]);
    head.writeUInt16BE(content.length + 1 + 16, 3);
    const nonce = expand(secret, 'iv', 12);
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ sequence++, 4);
    const cipher = createCipheriv('aes-128-gcm', expand(secret, 'key', 16), nonce);
    cipher.setAAD(head);
    return Buffer.concat([
      head,
      cipher.update(content),
      cipher.update(Buffer.from([type])),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
  };
  return {
    get over() {
      return over;
    },
    /** As many records of content as there are pieces; one may be empty. */
    content: (...pieces: Buffer[]): Buffer => Buffer.concat(pieces.map((piece) => seal(APPLICATION_DATA, piece))),
    /** A KeyUpdate that asks for one in return; what follows is under the new key. */
    keyUpdate(): Buffer {
      const record = seal(HANDSHAKE, KEY_UPDATE);
      secret = expand(secret, 'traffic upd', 32);
      sequence = 0n;
      return record;
    },
    /** Waits until it has left or the connection is over. */
    async send(records: Buffer): Promise<void> {
      if (over || !tcp.writable) return;
      await new Promise<void>((resolve) => {
        void closed.then(resolve);
        tcp.write(records, () => resolve());
      });
    },
  };
}

/** HKDF-Expand-Label of RFC 8446 7.1 with SHA-256 and no context, up to 32 bytes. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}
