import type { Socket } from 'node:net';

/** What the first byte says, or its absence. */
type FirstByte = 'tls' | 'plaintext' | 'silent' | 'ended';

/** Content type of a TLS record with a ClientHello; no protocol in plaintext that we know of begins with it. */
const HANDSHAKE = 0x16;

/**
 * Looks at the first byte of a socket that was just accepted and leaves it there. Called back once: `silent` after
 * `silenceMs` without a byte, `ended` when the caller left before one.
 */
export function firstByte(socket: Socket, silenceMs: number, done: (what: FirstByte) => void): void {
  const settle = (what: FirstByte) => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('end', left);
    socket.off('close', left);
    done(what);
  };
  const look = () => {
    const chunk: Buffer | null = socket.read();
    // Told of the end too, which the read brings about.
    if (chunk === null) return;
    socket.unshift(chunk);
    settle(chunk[0] === HANDSHAKE ? 'tls' : 'plaintext');
  };
  const left = () => settle('ended');
  const timer = setTimeout(() => settle('silent'), silenceMs);
  socket.on('readable', look);
  socket.once('end', left);
  socket.once('close', left);
}
