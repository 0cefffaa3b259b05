import type { Socket } from 'node:net';
import type { Rejection } from './http1/reasons.ts';
import { readConnect, requestReader } from './http1/request.ts';

const METHOD = Buffer.from('CONNECT ');

interface Reading {
  /** A whole CONNECT head was taken off the socket; what came behind it is still there. */
  readonly connect: (authority: string) => void;
  /** The first request is another one, and all of it is still on the socket. */
  readonly other: () => void;
  readonly refused: (reason: Rejection) => void;
  /** The client left before it said enough. */
  readonly left: () => void;
}

/** Reads the first request of a paused socket as far as it is a CONNECT. Calls one of `reading`, once, within `timeoutMs`. */
export function readConnectHead(socket: Socket, timeoutMs: number, reading: Reading): void {
  let kept: Buffer = Buffer.alloc(0);
  const settle = (then: () => void, rest: Buffer = kept) => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('end', left);
    socket.off('close', left);
    if (rest.length > 0 && !socket.readableEnded) socket.unshift(rest);
    then();
  };
  const look = () => {
    for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
      kept = Buffer.concat([kept, chunk]);
    }
    if (kept.length === 0) return;
    if (!METHOD.subarray(0, kept.length).equals(kept.subarray(0, METHOD.length))) {
      settle(reading.other);
      return;
    }
    // Read from its start each time: the size of a head is bounded, and most come in one piece.
    const reader = requestReader('outbound');
    const raw = reader.push(kept, 0, kept.length);
    if (raw === undefined) return;
    const head = typeof raw === 'string' ? raw : readConnect(raw);
    if (typeof head === 'string') settle(() => reading.refused(head), NOTHING);
    else settle(() => reading.connect(head.authority), kept.subarray(reader.taken));
  };
  const left = () => settle(reading.left, NOTHING);
  const timer = setTimeout(() => settle(() => reading.refused('slow_head'), NOTHING), timeoutMs);
  socket.on('readable', look);
  socket.once('end', left);
  socket.once('close', left);
}

const NOTHING = Buffer.alloc(0);
