import type { PeerCertificate } from 'node:tls';
import { isSidelockError, type SidelockError } from '../base/errors.ts';
import type { PeerSource } from '../pki/peer.ts';
import { credentialsOf } from './credentials.ts';
import type { Identity } from './identity.ts';
import { type Allowed, type PeerIdentity, peerJudge } from './peer.ts';

export type { PeerIdentity } from './peer.ts';

type CaListener = (update: { caCertificate: Buffer } | null) => void;
type IdentityListener = (update: { certificate: Buffer; privateKey: Buffer } | null) => void;

/** The shape of `experimental.CertificateProvider` of @grpc/grpc-js, which is not loaded for it. */
export interface CertificateProvider {
  addCaCertificateListener(listener: CaListener): void;
  removeCaCertificateListener(listener: CaListener): void;
  addIdentityCertificateListener(listener: IdentityListener): void;
  removeIdentityCertificateListener(listener: IdentityListener): void;
}

/**
 * Keeps a channel's or server's certificate and roots current: pass it twice to
 * `experimental.createCertificateProviderChannelCredentials` or `…ServerCredentials`. New connections use the new
 * certificate, open ones stay.
 */
export function certificateProvider(identity: Identity): CertificateProvider {
  const credentials = credentialsOf(identity);
  const stops = new Map<CaListener | IdentityListener, () => void>();
  const add = <L extends CaListener | IdentityListener>(listener: L, tell: () => void) => {
    stops.set(listener, credentials.subscribe(tell));
    // A server's credentials listen to us before they know who listens to them: told at once, they would drop it.
    queueMicrotask(() => stops.has(listener) && tell());
  };
  const remove = (listener: CaListener | IdentityListener) => {
    stops.get(listener)?.();
    stops.delete(listener);
  };
  return {
    addCaCertificateListener(listener) {
      add(listener, () => listener({ caCertificate: Buffer.from(credentials.current().material.bundle.pem) }));
    },
    addIdentityCertificateListener(listener) {
      add(listener, () => {
        const { certPem, keyPem } = credentials.current().material;
        listener({ certificate: Buffer.from(certPem), privateKey: Buffer.from(keyPem) });
      });
    },
    removeCaCertificateListener: remove,
    removeIdentityCertificateListener: remove,
  };
}

/**
 * For `verifyOptions.checkServerIdentity` of a channel: the server has to be who `expect` says, whatever its DNS names.
 * @throws SL-CFG-003 for a pattern that is not one
 */
export function checkServerIdentity(
  identity: Identity,
  { expect }: { readonly expect: string | readonly string[] },
): (host: string, certificate: PeerCertificate) => Error | undefined {
  const judge = peerJudge(credentialsOf(identity), 'server', [expect].flat());
  return (_host, certificate) => {
    try {
      judge(sourceOf(certificate, []));
      return undefined;
    } catch (error) {
      return error as Error;
    }
  };
}

/** What of a server's call is asked. */
interface Call {
  getAuthContext(): { readonly sslPeerCertificate?: PeerCertificate } | null;
}

/** An error that grpc-js answers with the status PERMISSION_DENIED; its cause is the SidelockError. */
class PermissionDenied extends Error {
  readonly code = 7;
  readonly details: string;

  constructor(cause: SidelockError) {
    super(cause.message, { cause });
    this.details = cause.why ?? cause.message;
  }
}

/**
 * For the handlers of a server: who calls, when `allow` lets it. What it gives throws what grpc-js answers with
 * PERMISSION_DENIED; pass it to the callback of a unary call, or let a stream's `destroy` have it.
 * @throws SL-CFG-003 for a pattern that is not one
 */
export function peerOfCall(identity: Identity, { allow }: { readonly allow: Allowed }): (call: Call) => PeerIdentity {
  const credentials = credentialsOf(identity);
  const judge = peerJudge(credentials, 'client', allow);
  return (call) => {
    const certificate = call.getAuthContext()?.sslPeerCertificate;
    // grpc-js tells the leaf alone: peers of one manager have our intermediates.
    const chain = credentials.current().material.chain.map(({ der }) => der);
    try {
      return judge(sourceOf(certificate, chain));
    } catch (error) {
      throw isSidelockError(error) ? new PermissionDenied(error) : error;
    }
  };
}

function sourceOf(leaf: PeerCertificate | undefined, more: readonly Buffer[]): PeerSource {
  return {
    fingerprint256: leaf?.fingerprint256,
    chain() {
      if (leaf === undefined) return [];
      const chain = [leaf.raw];
      for (let at = issuerOf(leaf); at !== undefined && chain.length < MAX_WALK; at = issuerOf(at)) chain.push(at.raw);
      return [...chain, ...more];
    },
  };
}

/** More than a chain may have; Node's chain of a self-signed certificate is a loop. */
const MAX_WALK = 8;

function issuerOf(certificate: PeerCertificate): PeerCertificate | undefined {
  const issuer = 'issuerCertificate' in certificate ? (certificate.issuerCertificate as PeerCertificate) : undefined;
  return issuer === certificate ? undefined : issuer;
}
