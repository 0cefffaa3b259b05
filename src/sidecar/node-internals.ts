import { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/**
 * The few inside parts of Node that the data plane uses, in one place. Everything else relies on documented API.
 * A test fails when the pinned Node loses one of them.
 */

interface Handle {
  useUserBuffer?: (buffer: Uint8Array) => void;
  verifyError?: () => { code?: string } | null;
}

interface Inside {
  _handle?: Handle | null;
  _parent?: Socket | null;
  _releaseControl?: () => boolean;
  [key: symbol]: unknown;
}

const inside = (socket: Socket): Inside => socket as unknown as Inside;

const symbols = findSymbols();

/** Reading without the Readable machinery; documented for `net.connect({onread})` only, needed for accepted sockets too. */
export interface UserBufferReader {
  /** Called with the bytes that arrived in the current buffer; returning false stops reading. */
  readonly filled: (n: number) => boolean;
  /** The buffer for the next read. */
  readonly space: () => Uint8Array;
}

/** Name of the reading path of this process: shown in the start-up line and as a metric. */
export function readPath(): 'user-buffers' | 'data-events' {
  return symbols === undefined ? 'data-events' : 'user-buffers';
}

/**
 * Switches an open socket to user buffers. False when this Node lacks a part, and the caller reads 'data' events.
 * Bytes that arrived before the switch sit in the Readable: read them out first.
 */
export function useUserBuffers(socket: Socket, reader: UserBufferReader): boolean {
  const own = inside(socket);
  const handle = own._handle;
  if (symbols === undefined || typeof handle?.useUserBuffer !== 'function') return false;
  const first = reader.space();
  // Not written behind the `=`: V8 allocates such a function among the old objects, and keeps what it refers to as long.
  const filled = (n: number) => reader.filled(n);
  // Undefined means the same again, which saves Node a look into the buffer for each small read.
  const generate = () => {
    const next = reader.space();
    return next === own[symbols.buffer] ? undefined : next;
  };
  own[symbols.buffer] = first;
  own[symbols.callback] = filled;
  own[symbols.generator] = generate;
  handle.useUserBuffer(first);
  return true;
}

/** Replaces the buffer a reading socket waits with; it would otherwise keep it until its next read. */
export function replaceUserBuffer(socket: Socket, buffer: Uint8Array): void {
  const own = inside(socket);
  if (symbols === undefined || own[symbols.buffer] === null) return;
  own[symbols.buffer] = buffer;
  own._handle?.useUserBuffer?.(buffer);
}

/** Lets go of the reader of a socket that is closed. */
export function forgetReader(socket: Socket): void {
  if (symbols === undefined) return;
  const own = inside(socket);
  own[symbols.callback] = own[symbols.generator] = undefined;
}

/** The TCP socket below a TLSSocket; itself for any other socket. */
export function rawSocket(socket: Socket): Socket {
  return inside(socket)._parent ?? socket;
}

/**
 * OpenSSL's verdict on the chain the peer of a server-side TLSSocket sent, before any of ours: its error code, or
 * undefined when it verified. Throws when this Node does not tell, so that an unknown Node fails closed.
 */
export function opensslVerdict(socket: TLSSocket): string | undefined {
  const handle = inside(socket)._handle;
  if (typeof handle?.verifyError !== 'function') throw new TypeError('this Node does not tell the verdict on a peer');
  const error = handle.verifyError();
  return error === null || error === undefined ? undefined : (error.code ?? 'UNSPECIFIED');
}

/** A self-made server-side TLSSocket swallows errors after its handshake until control is released, as tls.Server does. */
export function releaseControl(socket: TLSSocket): void {
  inside(socket)._releaseControl?.();
}

function findSymbols(): { buffer: symbol; callback: symbol; generator: symbol } | undefined {
  const probe = new Socket();
  const byName = new Map(Object.getOwnPropertySymbols(probe).map((s) => [s.description, s]));
  probe.destroy();
  const [buffer, callback, generator] = ['kBuffer', 'kBufferCb', 'kBufferGen'].map((name) => byName.get(name));
  if (buffer === undefined || callback === undefined || generator === undefined) return undefined;
  return { buffer, callback, generator };
}
