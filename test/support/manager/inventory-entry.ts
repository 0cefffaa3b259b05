import type { InventoryEntry } from '../../../src/manager/inventory.ts';

/** What is known of a certificate of `orders`; `serial`, hex, says when it was issued. */
export function inventoryEntry(serial: string, change: Partial<InventoryEntry> = {}): InventoryEntry {
  return {
    serial,
    service: 'orders',
    namespace: 'default',
    type: 'api_service',
    spiffeId: 'spiffe://ai-teddy.local/ns/default/sa/orders',
    sans: ['orders'],
    additionalSans: [],
    notBefore: 1,
    notAfter: 2,
    keyType: 'ecdsa-p256',
    spkiSha256: `key of ${serial}`,
    issuedAt: Number.parseInt(serial, 16),
    by: 'token',
    fingerprint256: serial,
    pem: 'PEM',
    ...change,
  };
}
