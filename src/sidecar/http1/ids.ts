import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4_096;

/** Hex text of random bytes, made in bulk: asking for a few at a time costs more than the rest of a head. */
export function createHexSource(): (digits: number) => string {
  const pool = Buffer.alloc(POOL_BYTES);
  let text = '';
  let at = 0;
  return (digits) => {
    if (at + digits > text.length) {
      text = randomFillSync(pool).toString('hex');
      at = 0;
    }
    at += digits;
    return text.slice(at - digits, at);
  };
}
