/** The library: the manager inside a program of yours, under the names of the guide. */
export { isSidelockError, SidelockError } from './base/errors.ts';
export { getMtlsManager, type MtlsManager, type MtlsManagerOptions } from './library.ts';
export type { InventoryEntry } from './manager/inventory.ts';
export type { SslContext } from './manager/ssl-context.ts';
export { ServiceType } from './pki/profiles.ts';
export type { ServiceCertificate } from './store/store.ts';
