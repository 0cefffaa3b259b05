/** Read by every idle and light connection: what arrives is used up before the read returns. */
export const sharedBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/** Of a connection that carries bulk, or whose other side cannot take bytes at once. */
export const OWN_BUFFER_SIZE = 256 * 1024;

/**
 * Reads of at least this size are bulk: they get memory of their own, where those of a loop turn are gathered. Below a
 * whole TLS record, because the frames of streams cut records in two. A destination holds no memory of a smaller write.
 */
export const BULK = 8 * 1024;

const MAX_FREE = 32;

const free: Buffer[] = [];

export function takeBuffer(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(OWN_BUFFER_SIZE);
}

/** Gives back a buffer that nothing reads into or writes from any more. */
export function giveBuffer(buffer: Buffer): void {
  if (free.length < MAX_FREE) free.push(buffer);
}

/** Lets go of what is kept for the next ones; how many bytes. */
export function dropSpare(): number {
  return free.splice(0).length * OWN_BUFFER_SIZE;
}
