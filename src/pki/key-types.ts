/** The keys that are made, certified and accepted here; everything else is refused by name. */
export const KEY_TYPES = ['rsa-2048', 'rsa-3072', 'rsa-4096', 'ecdsa-p256', 'ecdsa-p384', 'ed25519'] as const;

export type KeyType = (typeof KEY_TYPES)[number];
