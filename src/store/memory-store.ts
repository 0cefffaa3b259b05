import type { Clock } from '../base/clock.ts';
import { checkServiceName } from '../pki/names.ts';
import { type CertificateFiles, type CertStore, type ServiceCertificate, serviceCertificate } from './store.ts';

/** A store that ends with the process: for tests, and for managers whose state lives elsewhere. */
export class MemoryStore implements CertStore {
  readonly #clock: Clock;
  readonly #entries = new Map<string, ServiceCertificate>();

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  async load(service: string): Promise<ServiceCertificate | undefined> {
    checkServiceName(service);
    return this.#entries.get(service);
  }

  async save(service: string, files: CertificateFiles): Promise<void> {
    checkServiceName(service);
    const copy = {
      certificate: Buffer.from(files.certificate),
      privateKey: Buffer.from(files.privateKey),
      caCertificate: Buffer.from(files.caCertificate),
    };
    const file = `certificate of ${service}`;
    this.#entries.set(service, serviceCertificate(service, copy, { file, now: this.#clock.now() }));
  }

  async list(): Promise<string[]> {
    return [...this.#entries.keys()].sort();
  }

  async delete(service: string): Promise<boolean> {
    checkServiceName(service);
    return this.#entries.delete(service);
  }
}
