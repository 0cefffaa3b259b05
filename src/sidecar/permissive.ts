import type { Socket } from 'node:net';
import type { PlaintextListenerReport } from '../api/wire-sidecar.ts';
import type { DataPlane } from './data-plane.ts';
import { dial, localName, remoteName } from './dial.ts';
import { firstByte } from './first-byte.ts';
import type { InboundOptions } from './options.ts';
import { createPlaintextCallers } from './plaintext-callers.ts';
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

/** An inbound on its way from plaintext to mTLS: it takes both, and keeps who comes without. */
export interface Permissive {
  /** Calls `tls` for a caller that begins a handshake, serves one that does not. Admitted already. */
  accept(raw: Socket, tls: () => void): void;
  report(): PlaintextListenerReport;
}

interface PermissiveOptions {
  readonly options: InboundOptions;
  readonly plane: DataPlane;
  /** Takes over a plaintext connection; unless given its bytes go to the app. */
  readonly serve: ((raw: Socket) => void) | undefined;
}

/** Undefined for a strict listener. */
export function createPermissive({ options, plane, serve }: PermissiveOptions): Permissive | undefined {
  const listener = options.name;
  if (options.mode !== 'permissive') return undefined;
  const since = new Date(plane.clock.now()).toISOString();
  const callers = createPlaintextCallers(plane.clock);
  plane.log.warn(
    { event: 'permissive', listener, fix: 'sidelock migrate   says when mode: strict is safe' },
    `inbound "${listener}" lets anybody in without TLS: mode is permissive`,
  );
  const plaintext = (raw: Socket) => {
    const address = remoteName(raw);
    callers.note(address);
    plane.refusals.warn(
      `${listener} plaintext ${address.replace(/:\d+$/, '')}`,
      { event: 'plaintext_caller', listener, peer: { address } },
      `${address} calls inbound "${listener}" without TLS`,
    );
    if (serve === undefined) relayPlaintext(raw, options, plane);
    else serve(raw);
  };
  return {
    accept(raw, tls) {
      const http = options.protocol !== 'tcp';
      firstByte(raw, http ? plane.limits.handshakeTimeoutMs : SILENCE_MS, (what) => {
        if (what === 'tls') tls();
        else if (what === 'plaintext' || (what === 'silent' && !http)) plaintext(raw);
        else {
          plane.connections.dismiss();
          plane.metrics.refused.with({ direction: 'inbound', listener, reason: 'silent' }).value++;
          raw.destroy();
        }
      });
    },
    report: () => ({
      listener,
      since,
      callers: callers.list(),
      other: callers.other,
      open: plane.connections.list().filter((c) => c.plaintext === true && c.listener === listener).length,
    }),
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
      ...plaintextInfo(raw, remoteName(app)),
      direction: 'inbound',
      listener: options.name,
      start: (received, sent, closed) =>
        relay(socketLink(raw, plane), socketLink(app, plane), { received, sent, closed }),
    });
  });
}

/** What `/connections` knows of a caller without TLS. */
export function plaintextInfo(raw: Socket, local: string) {
  return {
    kind: undefined,
    peer: { address: remoteName(raw), id: '', serial: '' },
    self: undefined,
    tls: undefined,
    local,
    plaintext: true,
  } as const;
}
