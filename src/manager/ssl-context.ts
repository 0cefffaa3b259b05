import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { ServiceCertificate } from '../store/store.ts';

/**
 * TLS options for either side of a connection of one service: for `https.createServer`, `tls.createServer`,
 * `https.Agent` or `tls.connect`. TLS 1.3; the peer's certificate is demanded and must come from this manager's CA;
 * a client checks the host name besides. A server that outlives a rotation takes the new ones by `setSecureContext`.
 */
export interface SslContext {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
  readonly minVersion: 'TLSv1.3';
  readonly secureOptions: number;
  readonly requestCert: true;
  readonly rejectUnauthorized: true;
  /** Built once; what connects uses it as it is. */
  readonly secureContext: SecureContext;
}

export function createSslContext(files: ServiceCertificate): SslContext {
  const options = {
    cert: files.certificate,
    key: files.privateKey,
    ca: files.caCertificate,
    minVersion: 'TLSv1.3',
    // A ticket outlives rotation and the removal of a CA.
    secureOptions: constants.SSL_OP_NO_TICKET,
  } as const;
  const secureContext = createSecureContext(options);
  return Object.freeze({ ...options, requestCert: true, rejectUnauthorized: true, secureContext });
}
