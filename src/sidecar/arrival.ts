import type { Socket } from 'node:net';
import { nodeCode } from '../base/errors.ts';
import { hostOf } from '../base/listen.ts';
import { awaitClientHello, type NoHello } from './client-hello.ts';
import type { DataPlane } from './data-plane.ts';
import { remoteName } from './dial.ts';
import { classify, type HandshakeReason } from './handshake.ts';
import type { Identity } from './identity.ts';
import { reportHandshakeFailure } from './report.ts';

/**
 * What comes before a handshake, whose price is ours: the caller has sent its ClientHello, its address has not used up
 * its failures, and not too many begin in this turn. Then `begin` is called with the time that is left, ms; else the
 * socket is gone, counted and explained, and `failed` is called. Whoever began leaves
 * `pace` when the handshake is over, and gives back its budget when the caller is welcome.
 */
export function awaitTurn(
  raw: Socket,
  listener: string,
  identity: Identity,
  plane: DataPlane,
  { begin, failed }: { readonly begin: (leftMs: number) => void; readonly failed: () => void },
): void {
  const started = performance.now();
  const { handshakeTimeoutMs } = plane.limits;
  const address = remoteName(raw);
  const gone = (reason: HandshakeReason, openssl?: string) => {
    reportHandshakeFailure(plane, { direction: 'inbound', listener, reason, address, identity, openssl });
    raw.destroy();
    failed();
  };
  awaitClientHello(raw, handshakeTimeoutMs, (missing) => {
    if (missing !== undefined) {
      gone(reasonOf(missing, raw.bytesRead), missing.why === 'left' ? nodeCode(missing.error) : undefined);
      return;
    }
    plane.pace.enter(() => {
      const leftMs = handshakeTimeoutMs - (performance.now() - started);
      const useful = leftMs > 0 && !raw.destroyed;
      if (useful && plane.handshakeBudget.take(address)) {
        begin(leftMs);
        return;
      }
      plane.pace.leave();
      if (!useful) {
        gone(raw.destroyed ? 'client_left' : 'handshake_timeout');
        return;
      }
      tellFlood(address, listener, plane);
      raw.destroy();
      failed();
    });
  });
}

function reasonOf(missing: NoHello, bytesRead: number): HandshakeReason {
  if (missing.why === 'left') return classify({ direction: 'inbound', error: missing.error, bytesRead });
  return bytesRead === 0 ? 'port_probe' : 'handshake_timeout';
}

/** Counted, and told once in a while. */
function tellFlood(address: string, listener: string, plane: DataPlane): void {
  plane.metrics.refused.with({ direction: 'inbound', listener, reason: 'handshake_flood' }).value++;
  const host = hostOf(address);
  plane.refusals.warn(
    `${listener} handshake_flood ${host}`,
    {
      event: 'handshake_flood',
      code: 'SL-LIMIT-004',
      reason: 'handshake_flood',
      listener,
      peer: { address },
      fix: 'look in the lines before why its handshakes fail; where many callers share an address, raise limits.failedHandshakes',
    },
    `so many handshakes from ${host} failed that its next connections to inbound "${listener}" are closed`,
  );
}
