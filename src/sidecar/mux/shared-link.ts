import type { TLSSocket } from 'node:tls';
import { MINUTE, SECOND } from '../../base/clock.ts';
import type { DataPlane } from '../data-plane.ts';
import type { SharedLink } from '../links.ts';
import type { Direction } from '../metrics.ts';
import { forgetReader, useUserBuffers } from '../node-internals.ts';
import type { PeerLink, VerifiedPeer } from '../peer-link.ts';
import { memoryWithin } from './memory.ts';
import { type LinkCloseReason, ORDERLY } from './reasons.ts';
import { Session } from './session.ts';
import type { MuxStream } from './stream.ts';

/** A peer may have this many streams open on one connection. */
const MAX_STREAMS = 4096;
/** Closed after this long without a stream; by whoever connected, who knows that none is on its way. */
const IDLE = { outbound: 5 * MINUTE, inbound: 15 * MINUTE };
/** How long a peer has to close its side of a connection that ended. */
const CLOSE_TIMEOUT = 5 * SECOND;

/** Read by every shared connection: what arrives is used up, or copied, before the read returns. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

interface SharedLinkOptions {
  readonly direction: Direction;
  readonly listener: string;
  readonly socket: TLSSocket;
  readonly verified: VerifiedPeer;
  readonly plane: DataPlane;
  /** The peer opened a stream; without it, it may not. */
  readonly accepted?: (link: PeerLink) => void;
  /**
   * Of whoever connected: a successor is due. `goAway` when it stands; until then streams are served here. Called again
   * about once a second.
   */
  readonly replace?: (graceMs: number) => void;
  /** Called once, when no stream is left and none can come. */
  readonly closed: (reason: LinkCloseReason) => void;
}

/** Starts streams over a connection whose handshake is done, judged, and agreed on them. */
export function startSharedLink(options: SharedLinkOptions): SharedLink {
  const { direction, listener, socket, verified, plane, accepted, replace } = options;
  const flushed = plane.metrics.flushBytes.with({ direction, listener });
  const peerLink = (link: MuxStream): PeerLink => ({
    ...verified,
    link,
    kind: 'shared',
    left: () => session.farewell.told,
  });
  let scheduled = false;
  let ended: { readonly reason: LinkCloseReason; readonly at: number } | undefined;

  const flush = () => {
    if (session.outbox.writing || socket.destroyed) return;
    const out = session.outbox.take();
    if (out === undefined) {
      if (ended !== undefined && !socket.writableEnded) socket.end();
      return;
    }
    flushed.observe(out.bytes.length);
    session.outbox.writing = true;
    socket.write(out.bytes, () => {
      out.done();
      session.outbox.writing = false;
      session.serve();
      flush();
    });
  };
  const endOfTurn = () => {
    scheduled = false;
    session.announce();
    flush();
  };
  const session = new Session({
    client: direction === 'outbound',
    now: plane.clock.now(),
    idleMs: IDLE[direction],
    maxStreams: accepted === undefined ? 0 : MAX_STREAMS,
    ...memoryWithin(plane.limits.maxMemory ?? Number.POSITIVE_INFINITY),
    user: {
      accepted: (stream) => accepted?.(peerLink(stream)),
      output() {
        if (scheduled) return;
        scheduled = true;
        setImmediate(endOfTurn);
      },
      full: flush,
      closed(reason) {
        ended = { reason, at: plane.clock.now() };
        if (reason === 'lost') socket.destroy();
        else flush();
        if (!ORDERLY.has(reason) && (direction === 'inbound' || session.frames.received > 0)) report(options, reason);
        options.closed(reason);
      },
    },
  });

  socket.once('close', () => {
    forgetReader(socket);
    session.close('lost');
    session.outbox.drop();
  });
  socket.once('end', () => {
    session.close(session.streams === 0 ? 'done' : 'lost');
  });
  // Not before the caller has what this returns.
  queueMicrotask(() => read(socket, session, plane.userBuffers));

  return {
    direction,
    listener,
    verified,
    frames: session.frames,
    get open() {
      return session.open;
    },
    get streams() {
      return session.streams;
    },
    get window() {
      return session.window;
    },
    get held() {
      return session.memory.held;
    },
    stream: () => peerLink(session.stream()),
    get asked() {
      return session.farewell.asked;
    },
    replace: (graceMs) => (replace === undefined ? session.ask(graceMs) : replace(graceMs)),
    goAway: (graceMs) => session.goAway(graceMs),
    tick(now) {
      session.tick(now);
      if (ended !== undefined && now - ended.at >= CLOSE_TIMEOUT) socket.destroy();
      return socket.destroyed;
    },
    stop() {
      session.close('stopped');
      // Whoever does not take what is on its way gets no more time.
      if (session.outbox.writing) socket.destroy();
      else socket.destroySoon();
    },
  };
}

function report({ direction, listener, verified, plane }: SharedLinkOptions, reason: LinkCloseReason): void {
  const { address, spiffeId, leaf } = verified.peer;
  const id = spiffeId.uri;
  plane.refusals.warn(
    `${listener} link ${reason} ${id}`,
    {
      event: 'link_broke',
      reason,
      code: 'SL-LINK-001',
      direction,
      listener,
      peer: { address, id, serial: leaf.serial },
      fix: 'look at the log of the peer at the same time',
    },
    `${direction} "${listener}": the shared connection with ${id} (${address}) broke: ${reason}`,
  );
}

function read(socket: TLSSocket, session: Session, userBuffers: boolean): void {
  if (socket.destroyed) return;
  for (let early = socket.read(); early !== null; early = socket.read()) session.receive(early);
  const reader = {
    space: () => readBuffer,
    filled(n: number) {
      session.receive(readBuffer.subarray(0, n));
      return true;
    },
  };
  if (!userBuffers || !useUserBuffers(socket, reader)) socket.on('data', (chunk: Buffer) => session.receive(chunk));
  socket.resume();
}
