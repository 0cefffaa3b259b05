import { hostOf } from '../base/listen.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { DataPlane } from './data-plane.ts';
import { explain, type HandshakeReason, refusalReason } from './handshake.ts';
import type { Identity } from './identity.ts';
import type { Direction } from './metrics.ts';

interface HandshakeFailure {
  readonly direction: Direction;
  readonly listener: string;
  readonly reason: HandshakeReason;
  /** `host:port` of the other side. */
  readonly address: string;
  readonly identity: Identity;
  /** What our own pass found, with values. */
  readonly detail?: string | undefined;
  /** The certificate the peer showed, if it got that far. */
  readonly leaf?: Certificate | undefined;
  /** OpenSSL's or the system's code, for those who search for it. */
  readonly openssl?: string | undefined;
}

/** Counts a failed handshake and explains it in one line: who, what, why, and what to do. */
export function reportHandshakeFailure(plane: DataPlane, failure: HandshakeFailure): void {
  const { direction, listener, reason, address, identity, detail, leaf } = failure;
  plane.metrics.handshakes.with({ direction, listener, result: 'failed', reason }).value++;
  const refused = refusalReason(reason);
  if (refused !== undefined && leaf !== undefined) {
    plane.notices.add({ leaf, role: direction === 'inbound' ? 'client' : 'server', reason: refused });
  }
  // A health check that opens the port is not a failure anybody can mend.
  if (reason === 'port_probe') return;
  const { code, sentence, fix } = explain(reason, detail);
  const id = leaf?.spiffeId?.uri;
  const who = id === undefined ? address : `${id} (${address})`;
  plane.refusals.warn(
    `${listener} ${reason} ${id ?? hostOf(address)}`,
    {
      event: 'handshake_failed',
      reason,
      code,
      direction,
      listener,
      peer: { address, id, ...(leaf === undefined ? {} : certificateFields(leaf)) },
      self: {
        id: identity.spiffeId,
        serial: identity.serial,
        generation: identity.generation,
        bundleKeyIds: identity.material.bundle.keyIds,
      },
      openssl: failure.openssl,
      why: sentence,
      fix,
    },
    `${direction} "${listener}": ${who}: ${sentence}`,
  );
}

function certificateFields(leaf: Certificate): Record<string, unknown> {
  return {
    serial: leaf.serial,
    subject: leaf.subject,
    issuer: leaf.issuer,
    issuerKeyId: leaf.aki,
    notBefore: new Date(leaf.notBefore).toISOString(),
    notAfter: new Date(leaf.notAfter).toISOString(),
  };
}
