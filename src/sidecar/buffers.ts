/** Read by every idle and light connection: what arrives is used up before the read returns. */
export const sharedBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/** Of a connection that carries bulk, or whose other side cannot take bytes at once. */
const OWN_BUFFER_SIZE = 256 * 1024;

/** The same when many have one: as much as arrives while reading stops, and once more. */
const SMALL_BUFFER_SIZE = 128 * 1024;

/** A TLS source cannot stop at once: it still delivers the records of the network read under way, which must find room. */
const LATE = 64 * 1024;

/**
 * Reads of at least this size are bulk: they get memory of their own, where those of a loop turn are gathered. Below a
 * whole TLS record, because the frames of streams cut records in two. A destination holds no memory of a smaller write.
 */
export const BULK = 8 * 1024;

const MAX_FREE = 32;

const free: Buffer[] = [];
const freeSmall: Buffer[] = [];

/** Bytes of the large ones in use, and those from which on they are small. */
let lent = 0;
let plenty = Number.POSITIVE_INFINITY;

/** Beyond `bytes` in use those of connections are small: what waits for thousands of slow readers has to fit. */
export function boundBuffers(bytes: number): void {
  plenty = bytes;
}

export function takeBuffer(): Buffer {
  lent += OWN_BUFFER_SIZE;
  return free.pop() ?? Buffer.allocUnsafeSlow(OWN_BUFFER_SIZE);
}

/** For the bytes of one connection, which are read until `highWater`. */
export function takeConnectionBuffer(): Buffer {
  return lent < plenty ? takeBuffer() : takeSmall();
}

/** Of a large one, as what malloc gives in smaller pieces does not go back to the system (see the image). */
function takeSmall(): Buffer {
  const half = freeSmall.pop();
  if (half !== undefined) return half;
  const whole = free.pop() ?? Buffer.allocUnsafeSlow(OWN_BUFFER_SIZE);
  freeSmall.push(whole.subarray(SMALL_BUFFER_SIZE));
  return whole.subarray(0, SMALL_BUFFER_SIZE);
}

/** Reading into a buffer stops when it holds as much. */
export function highWater(buffer: Buffer): number {
  return buffer.length - LATE;
}

/** Gives back a buffer that nothing reads into or writes from any more. */
export function giveBuffer(buffer: Buffer): void {
  loseBuffer(buffer);
  const spare = buffer.length === OWN_BUFFER_SIZE ? free : freeSmall;
  if (spare.length < MAX_FREE) spare.push(buffer);
}

/** The same for one that something may still write from. */
export function loseBuffer(buffer: Buffer): void {
  if (buffer.length === OWN_BUFFER_SIZE) lent -= OWN_BUFFER_SIZE;
}

/** Lets go of what is kept for the next ones; how many bytes. */
export function dropSpare(): number {
  return free.splice(0).length * OWN_BUFFER_SIZE + freeSmall.splice(0).length * SMALL_BUFFER_SIZE;
}
