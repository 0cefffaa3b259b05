import { SidelockError } from '../base/errors.ts';
import { EKU } from './certificate.ts';
import type { KeyType } from './keys.ts';
import { KEY_TYPES } from './keys.ts';

/** The types by the guide's names for them. */
export const ServiceType = Object.freeze({
  AI_SERVICE: 'ai_service',
  CHILD_SERVICE: 'child_service',
  PARENT_SERVICE: 'parent_service',
  API_SERVICE: 'api_service',
  DATABASE: 'database',
  CACHE: 'cache',
  GATEWAY: 'gateway',
  /** Issued by the issuer of devices only, never by `parseServiceType`. */
  DEVICE: 'device',
} as const);

export type ServiceType = (typeof ServiceType)[keyof typeof ServiceType];

/** Those a service may ask for. */
export const SERVICE_TYPES: readonly ServiceType[] = Object.values(ServiceType).filter((type) => type !== 'device');

/** What certificates of a service type may be. */
export interface Profile {
  readonly keyTypes: readonly KeyType[];
  readonly validityDays: number;
  /** OIDs of the extended key usages. */
  readonly eku: readonly string[];
}

/** In a mesh every service calls and is called, whatever it does. */
const DEFAULT_PROFILE: Profile = {
  keyTypes: KEY_TYPES,
  validityDays: 90,
  eku: [EKU.serverAuth, EKU.clientAuth],
};

/** @throws SL-API-001 naming the types there are */
export function parseServiceType(text: string): ServiceType {
  const type = SERVICE_TYPES.find((known) => known === text);
  if (type !== undefined) return type;
  throw new SidelockError('SL-API-001', `${JSON.stringify(text.slice(0, 64))} is not a service type`, {
    why: `the types are ${SERVICE_TYPES.join(', ')}`,
    fix: 'Use one of them.',
  });
}

/** The profile of a type: the defaults with what `overrides` says about that type in their place. */
export function profileOf(type: ServiceType, overrides: Partial<Record<ServiceType, Partial<Profile>>> = {}): Profile {
  return Object.freeze({ ...DEFAULT_PROFILE, ...overrides[type] });
}
