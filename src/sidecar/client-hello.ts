import type { Socket } from 'node:net';

const HANDSHAKE = 22;
const HEAD_BYTES = 5;
/** Of a record of TLS 1.2, the longest there is (RFC 5246 6.2.3). */
const MAX_RECORD = 16_384 + 2_048;

/** Why there is none; `error` is that of the socket. */
export type NoHello = { readonly why: 'timeout' } | { readonly why: 'left'; readonly error: Error | undefined };

/**
 * Waits until the first record of a socket that was just accepted is there, or what came is no TLS, and leaves it there:
 * until then a caller costs a socket, and not the state of a TLS connection (threats.md X19). Calls `done` once.
 */
export function awaitClientHello(
  socket: Socket,
  timeoutMs: number,
  done: (missing: NoHello | undefined) => void,
): void {
  const chunks: Buffer[] = [];
  let length = 0;
  let wanted = 1;
  let error: Error | undefined;
  const settle = (missing: NoHello | undefined) => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('end', left);
    socket.off('close', left);
    socket.off('error', broke);
    if (length > 0 && missing === undefined) socket.unshift(Buffer.concat(chunks));
    done(missing);
  };
  const look = () => {
    const chunk: Buffer | null = socket.read();
    if (chunk === null) return;
    chunks.push(chunk);
    length += chunk.length;
    // Put together a few times, whatever the number of pieces: a caller may send byte by byte.
    if (length < wanted) return;
    wanted = needed(Buffer.concat(chunks));
    if (length >= wanted) settle(undefined);
  };
  const left = () => settle({ why: 'left', error });
  const broke = (found: Error) => {
    error = found;
  };
  const timer = setTimeout(() => settle({ why: 'timeout' }), timeoutMs);
  socket.on('readable', look);
  socket.once('end', left);
  socket.once('close', left);
  socket.once('error', broke);
}

/** How many bytes have to be there before OpenSSL can say something. */
function needed(bytes: Buffer): number {
  if (bytes[0] !== HANDSHAKE) return 0;
  if (bytes.length < HEAD_BYTES) return HEAD_BYTES;
  const length = bytes.readUInt16BE(3);
  return length > MAX_RECORD ? 0 : HEAD_BYTES + length;
}
