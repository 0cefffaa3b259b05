import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  randomBytes,
  scrypt,
  timingSafeEqual,
} from 'node:crypto';
import { SidelockError } from '../base/errors.ts';

/** `sidelock-backup`, a newline, the length of the header (2 bytes), the header as JSON, its HMAC, then the chunks. */
const MAGIC = Buffer.from('sidelock-backup\n');
const CHUNK = 64 * 1024;
const TAG = 16;
const MAC = 32;
const MAX_HEADER = 1024;

interface Header {
  readonly version: 1;
  readonly createdAt: string;
  readonly kdf: {
    readonly name: 'scrypt';
    readonly n: number;
    readonly r: number;
    readonly p: number;
    readonly salt: string;
  };
}

/** 128 MiB and some tenths of a second for each guess. */
const COST = { n: 1 << 17, r: 8, p: 1 } as const;
/** What a header may ask for: somebody else may have written it, and it is obeyed before it can be checked. */
const MAX_COST = { n: 1 << 18, r: 16, p: 4 } as const;

/**
 * Encrypts and authenticates a stream with a passphrase: scrypt, then AES-256-GCM over chunks of 64 KiB whose nonce is
 * their number and whether they are the last, so that none can be changed, moved, repeated or left out (the STREAM
 * construction). Each archive has its own salt and so its own key.
 */
export async function* seal(plain: AsyncIterable<Buffer>, passphrase: string, now: number): AsyncGenerator<Buffer> {
  const kdf = { name: 'scrypt', ...COST, salt: randomBytes(16).toString('hex') } as const;
  const header = Buffer.from(
    JSON.stringify({ version: 1, createdAt: new Date(now).toISOString(), kdf } satisfies Header),
  );
  const keys = await deriveKeys(passphrase, kdf);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(header.length);
  yield Buffer.concat([MAGIC, length, header, macOf(header, keys)]);
  const aad = createHash('sha256').update(header).digest();
  const chunk = (data: Buffer, index: number, last: boolean) => {
    const cipher = createCipheriv('aes-256-gcm', keys.encryption, nonce(index, last)).setAAD(aad);
    return Buffer.concat([cipher.update(data), cipher.final(), cipher.getAuthTag()]);
  };
  let index = 0;
  const waiting = new Collected();
  for await (const data of plain) {
    waiting.add(data);
    // The last chunk is sealed as such, so one is always held back.
    while (waiting.length > CHUNK) yield chunk(waiting.take(CHUNK), index++, false);
  }
  yield chunk(waiting.take(waiting.length), index, true);
}

/**
 * The stream that was sealed, a chunk at a time and none before it is proven. Ends only when all of it was.
 * @throws SidelockError SL-BAK-001 when it is no archive, was changed or cut short, SL-BAK-002 for a wrong passphrase.
 */
export async function* unseal(archive: AsyncIterable<Buffer>, passphrase: string): AsyncGenerator<Buffer> {
  const waiting = new Collected();
  const source = archive[Symbol.asyncIterator]();
  const fill = async (wanted: number): Promise<boolean> => {
    while (waiting.length < wanted) {
      const { done, value } = await source.next();
      if (done === true) return false;
      waiting.add(value);
    }
    return true;
  };
  const head = MAGIC.length + 2;
  if (!(await fill(head)) || !waiting.take(MAGIC.length).equals(MAGIC)) throw unreadable('it does not begin as one');
  const size = waiting.take(2).readUInt16BE();
  if (size > MAX_HEADER || !(await fill(size + MAC))) throw unreadable('its header is cut short or damaged');
  const header = waiting.take(size);
  const keys = await deriveKeys(passphrase, readHeader(header).kdf);
  if (!timingSafeEqual(waiting.take(MAC), macOf(header, keys))) {
    throw new SidelockError('SL-BAK-002', 'the passphrase does not fit this backup', {
      why: 'it was made with another one, or its first bytes were changed',
    });
  }
  const aad = createHash('sha256').update(header).digest();
  for (let index = 0, last = false; !last; index++) {
    last = !(await fill(CHUNK + TAG + 1));
    const sealed = waiting.take(last ? waiting.length : CHUNK + TAG);
    yield openChunk(sealed, { key: keys.encryption, nonce: nonce(index, last), aad, index });
  }
}

interface ChunkContext {
  readonly key: Buffer;
  readonly nonce: Buffer;
  readonly aad: Buffer;
  readonly index: number;
}

function openChunk(sealed: Buffer, { key, nonce: iv, aad, index }: ChunkContext): Buffer {
  try {
    const split = sealed.length - TAG;
    const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG }).setAAD(aad);
    decipher.setAuthTag(sealed.subarray(split));
    return Buffer.concat([decipher.update(sealed.subarray(0, split)), decipher.final()]);
  } catch (cause) {
    throw unreadable(
      `it was changed or cut short (within ${CHUNK / 1024} KiB of byte ${index * (CHUNK + TAG)})`,
      cause,
    );
  }
}

/** SL-BAK-001 */
export function unreadable(why: string, cause?: unknown): SidelockError {
  return new SidelockError('SL-BAK-001', 'this is no backup that can be restored', { why, cause });
}

function readHeader(header: Buffer): Header {
  let value: Partial<Header>;
  try {
    value = JSON.parse(header.toString()) as Partial<Header>;
  } catch (cause) {
    throw unreadable('its header is damaged', cause);
  }
  if (value.version !== 1) throw unreadable(`its version is ${String(value.version)}; this program reads version 1`);
  const { n, r, p, name, salt } = value.kdf ?? {};
  const fits = (cost: number | undefined, most: number) =>
    Number.isInteger(cost) && Number(cost) >= 1 && Number(cost) <= most;
  if (
    name !== 'scrypt' ||
    typeof salt !== 'string' ||
    !fits(n, MAX_COST.n) ||
    !fits(r, MAX_COST.r) ||
    !fits(p, MAX_COST.p)
  ) {
    throw unreadable('its header asks for a key derivation that is not done here');
  }
  return value as Header;
}

interface Keys {
  readonly encryption: Buffer;
  readonly mac: Buffer;
}

function deriveKeys(passphrase: string, { n, r, p, salt }: Header['kdf']): Promise<Keys> {
  const options = { N: n, r, p, maxmem: 256 * n * r };
  return new Promise((resolve, reject) => {
    try {
      scrypt(passphrase, Buffer.from(salt, 'hex'), 64, options, (error, key) => {
        if (error === null) resolve({ encryption: key.subarray(0, 32), mac: key.subarray(32) });
        else reject(error);
      });
    } catch (cause) {
      reject(unreadable('its header asks for a key derivation that is not done here', cause));
    }
  });
}

function macOf(header: Buffer, { mac }: Keys): Buffer {
  return createHmac('sha256', mac).update(header).digest();
}

function nonce(index: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUIntBE(index, 5, 6);
  bytes[11] = last ? 1 : 0;
  return bytes;
}

/** Bytes that arrive in any pieces and leave in others. */
export class Collected {
  #parts: Buffer[] = [];
  length = 0;

  add(data: Buffer): void {
    this.#parts.push(data);
    this.length += data.length;
  }

  /** @throws RangeError when fewer have arrived */
  take(count: number): Buffer {
    const taken = this.peek(count);
    this.#parts = [this.#joined().subarray(count)];
    this.length -= count;
    return taken;
  }

  peek(count: number): Buffer {
    if (count > this.length) throw new RangeError(`${count} bytes of ${this.length}`);
    return this.#joined().subarray(0, count);
  }

  #joined(): Buffer {
    const [first = Buffer.alloc(0), ...more] = this.#parts;
    const all = more.length === 0 ? first : Buffer.concat(this.#parts);
    this.#parts = [all];
    return all;
  }
}
