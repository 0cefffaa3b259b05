import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { BUSY, HELD, type Link, type LinkUser, TAKEN, type WriteResult } from './link.ts';
import { forgetReader, rawSocket, replaceUserBuffer, useUserBuffers } from './node-internals.ts';

/** Up to here Node encodes a latin1 string on the stack and tries to send it at once: one system call, no copy kept. */
const STRING_LIMIT = 16 * 1024;
const EMPTY = Buffer.alloc(0);

/**
 * A link over one TCP, unix or TLS socket. The socket must be open (handshake done and judged), with allowHalfOpen,
 * not flowing, and already have an 'error' listener. `userBuffers: false` forces the portable reading path.
 */
export function socketLink(socket: Socket, options: { readonly userBuffers?: boolean } = {}): Link {
  return new SocketLink(socket, options.userBuffers ?? true);
}

class SocketLink implements Link {
  readonly #socket: Socket;
  readonly #tls: boolean;
  readonly #wantUserBuffers: boolean;
  #user: LinkUser | undefined;
  #rest: Buffer | undefined;
  #restEnded = false;
  #error: Error | undefined;
  readonly #done = () => this.#user?.written();

  constructor(socket: Socket, userBuffers: boolean) {
    this.#socket = socket;
    this.#tls = socket instanceof TLSSocket;
    this.#wantUserBuffers = userBuffers;
  }

  open(user: LinkUser): void {
    const socket = this.#socket;
    this.#user = user;
    const broke = (error: Error) => {
      this.#error ??= error;
    };
    const ended = () => {
      if (this.#rest === undefined) user.ended();
      else this.#restEnded = true;
    };
    socket.on('error', broke);
    socket.once('end', ended);
    socket.once('close', () => {
      // Node keeps a closed socket until the next full collection (a function of its stream is allocated among the old
      // objects): what served it shall not stay with it.
      socket.off('error', broke);
      socket.off('end', ended);
      forgetReader(socket);
      user.closed(this.#error);
    });
    if (socket.destroyed) {
      queueMicrotask(() => user.closed(this.#error));
      return;
    }
    // Ended while nobody listened yet, as when a caller leaves before the app was reached.
    this.#restEnded = socket.readableEnded;
    for (let early = socket.read(); early !== null; early = socket.read()) this.#keep(early);
    if (this.#wantUserBuffers && useUserBuffers(socket, user)) {
      if (this.#deliver()) socket.resume();
      return;
    }
    socket.on('data', (chunk: Buffer) => {
      this.#keep(chunk);
      if (!this.#deliver()) socket.pause();
    });
    if (this.#deliver()) socket.resume();
    else socket.pause();
  }

  resume(): void {
    if (this.#deliver() && !this.#socket.destroyed) this.#socket.resume();
  }

  write(chunk: Buffer): WriteResult {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return TAKEN;
    if (this.#tls) {
      // TLSWrap encrypts, or copies, before write returns; it reports completion on a later turn.
      socket.write(chunk, this.#done);
      return BUSY;
    }
    if (chunk.length <= STRING_LIMIT) return this.writeText(chunk.toString('latin1'));
    socket.write(chunk);
    return this.#left() ? TAKEN : HELD;
  }

  writeText(text: string): WriteResult {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return TAKEN;
    if (this.#tls) {
      socket.write(text, 'latin1', this.#done);
      return BUSY;
    }
    socket.write(text, 'latin1');
    return this.#left() ? TAKEN : BUSY;
  }

  end(): void {
    this.#socket.end();
  }

  reset(): void {
    const { writableEnded, writableFinished } = this.#socket;
    const raw = rawSocket(this.#socket);
    if (raw.destroyed) return;
    // Of a socket whose end is on its way Node (26.10) forgets the descriptor: neither closed nor 'close'.
    if (writableEnded && !writableFinished) raw.destroy();
    else raw.resetAndDestroy();
  }

  renewSpace(): void {
    if (this.#user !== undefined) replaceUserBuffer(this.#socket, this.#user.space());
  }

  /** False when the kernel did not take all of a write: an empty one behind it tells when the rest has left. */
  #left(): boolean {
    if (this.#socket.writableLength === 0) return true;
    this.#socket.write(EMPTY, this.#done);
    return false;
  }

  #keep(chunk: Buffer): void {
    this.#rest = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
  }

  /** Hands kept bytes to the user. False while it wants no more. */
  #deliver(): boolean {
    const user = this.#user;
    while (user !== undefined && this.#rest !== undefined) {
      const rest = this.#rest;
      const n = rest.copy(user.space());
      this.#rest = n === rest.length ? undefined : rest.subarray(n);
      if (!user.filled(n)) return false;
    }
    if (this.#restEnded) {
      this.#restEnded = false;
      user?.ended();
    }
    return true;
  }
}
