import { DEVICE_NAMESPACE } from '../pki/names.ts';
import type { Authority } from './ca.ts';
import { DEVICE_DOMAIN, type DeviceIssuerOptions, openDeviceIssuer } from './device-issuer.ts';
import { createIssuer, type IssuerOptions } from './issuer.ts';
import type { Subject } from './subject.ts';

export interface DeviceRequest {
  /** A name like those of services; it is one in the namespace `devices`. */
  readonly device: string;
  /** Besides `DEVICE.devices.ai-teddy.com`. */
  readonly additionalSans?: readonly string[] | undefined;
}

/** PEM; `certificate` is the leaf, then its chain. */
interface DeviceIdentity {
  readonly privateKey: string;
  readonly certificate: string;
  readonly caCertificate: string;
}

interface DevicesOptions {
  readonly authority: () => Authority;
  readonly issuer: Omit<DeviceIssuerOptions, 'authority'>;
  readonly issuing: Omit<IssuerOptions, 'authority' | 'keyType'>;
  readonly subjectOf: (request: {
    readonly service: string;
    readonly namespace: string;
    readonly additionalSans?: readonly string[] | undefined;
  }) => Subject;
}

/** Makes certificates of devices, under an issuer of their own that follows the root. */
export function createDevices({ authority, issuer, issuing, subjectOf }: DevicesOptions) {
  let current: { readonly under: Authority; readonly opening: Promise<Authority> } | undefined;
  const open = (): Promise<Authority> => {
    const under = authority();
    if (current?.under !== under) {
      const opening = openDeviceIssuer({ ...issuer, authority: under }).catch((error: unknown) => {
        current = undefined;
        throw error;
      });
      current = { under, opening };
    }
    return current.opening;
  };
  return {
    /** Makes the issuer, while the root can. @throws SL-CA-005 */
    prepare: open,
    async create({ device, additionalSans }: DeviceRequest): Promise<DeviceIdentity> {
      const asked = subjectOf({ service: device, namespace: DEVICE_NAMESPACE, additionalSans });
      const own = `${device}.${DEVICE_DOMAIN}`;
      const subject = { ...asked, type: 'device', additionalSans: [own, ...asked.additionalSans] } as const;
      const opened = await open();
      const signer = createIssuer({ ...issuing, authority: () => opened, keyType: 'ecdsa-p256' });
      const { entry, privateKey } = await signer.issueForService(subject, { actor: 'operator' });
      return { certificate: entry.pem, privateKey: privateKey.toString(), caCertificate: authority().bundlePem };
    },
  };
}
