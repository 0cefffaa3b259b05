import type { Certificate } from '../pki/certificate.ts';
import type { SpiffeId } from '../pki/names.ts';
import type { Identity } from './identity.ts';
import type { Link } from './link.ts';

/** What was agreed in a handshake. */
export interface TlsFacts {
  readonly version: string;
  readonly cipher: string;
  /** Of the key exchange. Node tells it on the client side only. */
  readonly group: string | undefined;
  /** By a ticket of an earlier connection. */
  readonly resumed?: true;
}

/** Who is at the other end of a connection, and what was agreed. */
export interface VerifiedPeer {
  readonly peer: {
    readonly address: string;
    readonly spiffeId: SpiffeId;
    readonly leaf: Certificate;
    /** SHA-256 of the root that vouches for it. */
    readonly root: string;
  };
  /** `host:port` of ours on this connection. */
  readonly local: string;
  /** Ours, as the peer saw it. */
  readonly identity: Identity;
  readonly tls: TlsFacts;
}

/** `own` is a connection for one conversation; `shared` carries many, as streams. */
export type LinkKind = 'own' | 'shared';

/** A link to a peer that was verified. Nothing was read from or written to it yet. */
export interface PeerLink extends VerifiedPeer {
  readonly link: Link;
  readonly kind: LinkKind;
  /** Of a shared one: whether new streams go elsewhere by now. */
  readonly left?: () => boolean;
}
