import type { Socket } from 'node:net';
import type { PlaintextListenerReport } from '../api/wire-sidecar.ts';
import { hostOf } from '../base/listen.ts';
import type { ConnectionInfo } from './connections.ts';
import type { DataPlane } from './data-plane.ts';
import { dial, localName, remoteName } from './dial.ts';
import { firstByte } from './first-byte.ts';
import type { InboundOptions } from './options.ts';
import { createPlaintextCallers, type PlaintextCallers } from './plaintext-callers.ts';
import { encodeProxyHeader } from './proxy-header.ts';
import { relay } from './relay.ts';
import { socketLink } from './socket-link.ts';
import { targetDown } from './target.ts';

/**
 * How long a caller of a tcp listener may be silent before it is taken for one without TLS that waits for the app to
 * speak first, as with MySQL or SMTP. A TLS caller speaks with its first packet; one that does not is served in vain
 * and connects again. HTTP callers always speak first, so there we wait as long as for a handshake.
 */
const SILENCE_MS = 300;

/** Whether an inbound takes callers without TLS too, which can change while it serves; keeps who comes without. */
export interface PlaintextGate {
  /** Calls `tls` for a caller that begins a handshake; serves one that does not, where that is permitted. Admitted already. */
  accept(raw: Socket, tls: () => void): void;
  /** For connections from now on. Of those without TLS that are open, HTTP ends between requests, others when they end. */
  setMode(mode: ListenerMode): void;
  /** Undefined where it is strict. */
  report(): PlaintextListenerReport | undefined;
}

export type ListenerMode = NonNullable<InboundOptions['mode']>;

interface Watch {
  readonly since: string;
  readonly callers: PlaintextCallers;
}

interface GateOptions {
  readonly options: InboundOptions;
  readonly plane: DataPlane;
  /** Takes over a plaintext connection; unless given its bytes go to the app. */
  readonly serve: ((raw: Socket) => void) | undefined;
}

export function createPlaintextGate({ options, plane, serve }: GateOptions): PlaintextGate {
  const listener = options.name;
  const gauge = plane.metrics.permissive.with({ listener });
  const isOpen = (c: ConnectionInfo) => c.plaintext === true && c.listener === listener;
  const open = () => plane.connections.count(isOpen);
  let watch: Watch | undefined;

  const begin = () => {
    watch = { since: new Date(plane.clock.now()).toISOString(), callers: createPlaintextCallers(plane.clock) };
    gauge.value = 1;
    plane.log.warn(
      { event: 'permissive', listener, fix: 'sidelock migrate   says when mode: strict is safe' },
      `inbound "${listener}" lets anybody in without TLS: mode is permissive`,
    );
  };
  const end = () => {
    watch = undefined;
    gauge.value = 0;
    plane.log.info({ event: 'strict', listener, open: open() }, `inbound "${listener}" takes mTLS alone from now on`);
    plane.connections.finishAll('inbound', isOpen);
  };
  const plaintext = (raw: Socket, callers: PlaintextCallers) => {
    const address = remoteName(raw);
    callers.note(address);
    plane.refusals.warn(
      `${listener} plaintext ${hostOf(address)}`,
      { event: 'plaintext_caller', listener, peer: { address } },
      `${address} calls inbound "${listener}" without TLS`,
    );
    if (serve === undefined) relayPlaintext(raw, options, plane);
    else serve(raw);
  };
  if (options.mode === 'permissive') begin();
  return {
    accept(raw, tls) {
      // What is in force now holds for the whole connection, also when its first byte comes after a change.
      const now = watch;
      if (now === undefined) {
        tls();
        return;
      }
      const http = options.protocol !== 'tcp';
      firstByte(raw, http ? plane.limits.handshakeTimeoutMs : SILENCE_MS, (what) => {
        if (what === 'tls') tls();
        else if (what === 'plaintext' || (what === 'silent' && !http)) plaintext(raw, now.callers);
        else {
          plane.connections.dismiss();
          plane.metrics.refused.with({ direction: 'inbound', listener, reason: 'silent' }).value++;
          raw.destroy();
        }
      });
    },
    setMode(mode) {
      if (mode === (watch === undefined ? 'strict' : 'permissive')) return;
      if (mode === 'permissive') begin();
      else end();
    },
    report: () =>
      watch && {
        listener,
        since: watch.since,
        callers: watch.callers.list(),
        other: watch.callers.other,
        open: open(),
      },
  };
}

function relayPlaintext(raw: Socket, options: InboundOptions, plane: DataPlane): void {
  const app = dial(options.target, plane.limits.connectTimeoutMs, (failure) => {
    if (failure !== undefined) {
      plane.connections.dismiss();
      raw.resetAndDestroy();
      targetDown(failure, options, plane);
      return;
    }
    if (options.sendProxyHeader === 'v2') {
      app.write(encodeProxyHeader({ source: remoteName(raw), destination: localName(raw) }));
    }
    plane.connections.add({
      ...plaintextInfo(raw, () => remoteName(app)),
      direction: 'inbound',
      listener: options.name,
      start: (received, sent, closed) =>
        relay(socketLink(raw, plane), socketLink(app, plane), { received, sent, caller: 'first', closed }),
    });
  });
}

/** What `/connections` knows of a caller without TLS. */
export function plaintextInfo(raw: Socket, local: () => string) {
  return {
    kind: undefined,
    peer: { address: remoteName(raw), id: '', serial: '' },
    self: undefined,
    tls: undefined,
    local,
    plaintext: true,
  } as const;
}
