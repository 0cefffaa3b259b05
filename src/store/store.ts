import { SidelockError } from '../base/errors.ts';
import { type Certificate, certificatesFromPem } from '../pki/certificate.ts';

/** What a service is served with, as PEM. */
export interface CertificateFiles {
  /** Leaf first, then its chain. */
  readonly certificate: Buffer;
  /** PKCS#8. */
  readonly privateKey: Buffer;
  /** The trust bundle. */
  readonly caCertificate: Buffer;
}

export interface ServiceCertificate extends CertificateFiles {
  readonly serviceName: string;
  readonly leaf: Certificate;
  /** ms */
  readonly loadedAt: number;
}

/** Certificates by service. A name that is not one (SL-NAME-002) is refused before it becomes part of a path. */
export interface CertStore {
  /** Never older than what is stored. Undefined when there is nothing; a damaged set throws. */
  load(service: string): Promise<ServiceCertificate | undefined>;
  /** Replaces all three at the same moment, or throws and leaves the old three. */
  save(service: string, files: CertificateFiles): Promise<void>;
  /** Names of the services that have a certificate, sorted. */
  list(): Promise<string[]>;
  /** True when there was something to delete. */
  delete(service: string): Promise<boolean>;
}

/** Throws SL-PEM-* when the certificate does not parse; `file` names it in the message. */
export function serviceCertificate(
  serviceName: string,
  { certificate, privateKey, caCertificate }: CertificateFiles,
  { file, now }: { readonly file: string; readonly now: number },
): ServiceCertificate {
  const [leaf] = certificatesFromPem(certificate, file);
  if (leaf === undefined) throw new SidelockError('SL-PEM-001', `${file} holds no certificate`, { data: { file } });
  return Object.freeze({ serviceName, certificate, privateKey, caCertificate, leaf, loadedAt: now });
}
