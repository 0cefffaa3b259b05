import { SidelockError } from '../base/errors.ts';
import { verifyCsr } from '../pki/csr.ts';
import { DEVICE_NAMESPACE } from '../pki/names.ts';
import type { Asked, ByProof } from './by-proof.ts';
import type { Authority } from './ca.ts';
import { DEVICE_DOMAIN, type DeviceIssuerOptions, openDeviceIssuer } from './device-issuer.ts';
import type { InventoryEntry } from './inventory.ts';
import { createIssuer, type IssuerOptions } from './issuer.ts';
import type { Subject } from './subject.ts';
import type { Tokens } from './tokens.ts';

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
  readonly tokens: Tokens;
  readonly proof: ByProof;
  readonly subjectOf: (request: {
    readonly service: string;
    readonly namespace: string;
    readonly additionalSans?: readonly string[] | undefined;
  }) => Subject;
}

/** Certificates of devices, under an issuer of their own that follows the root. */
export function createDevices({ authority, issuer, issuing, tokens, proof, subjectOf }: DevicesOptions) {
  const { audit } = issuing;
  let current: { readonly under: Authority; readonly opening: Promise<Authority> } | undefined;
  const open = (): Promise<Authority> => {
    const under = authority();
    if (current?.under !== under) {
      const opening = openDeviceIssuer({ ...issuer, authority: under }).catch((error: unknown) => {
        if (current?.under === under) current = undefined;
        throw error;
      });
      current = { under, opening };
    }
    return current.opening;
  };
  let opened: Authority | undefined;
  // One for all: requests with one key take turns in it.
  const ours = createIssuer({ ...issuing, authority: () => opened ?? authority(), keyType: 'ecdsa-p256' });
  const signer = async () => {
    // The root may have been followed by another while the issuer under it was opened.
    for (;;) {
      const under = authority();
      const issuerNow = await open();
      if (authority() !== under) continue;
      opened = issuerNow;
      return ours;
    }
  };
  const subject = (device: string, additionalSans: readonly string[] = []): Subject => {
    const asked = subjectOf({ service: device, namespace: DEVICE_NAMESPACE, additionalSans });
    const own = `${device}.${DEVICE_DOMAIN}`;
    return { ...asked, type: 'device', additionalSans: [...new Set([own, ...asked.additionalSans])] };
  };

  return {
    /** Makes the issuer, while the root can. @throws SL-CA-005 */
    prepare: open,
    /** What vouches for devices: the roots, then the issuer of devices. PEM */
    async caCertificates(): Promise<string> {
      return authority().bundlePem + (await open()).chainPem;
    },
    async create({ device, additionalSans }: DeviceRequest): Promise<DeviceIdentity> {
      const wanted = subject(device, additionalSans);
      const { entry, privateKey } = await (await signer()).issueForService(wanted, { actor: 'operator' });
      return { certificate: entry.pem, privateKey: privateKey.toString(), caCertificate: authority().bundlePem };
    },
    /** A join token that is good for one certificate of this device, for a key that it makes itself. */
    async createToken({ device, additionalSans, ttlMs }: DeviceRequest & { readonly ttlMs?: number | undefined }) {
      const made = await tokens.create({ ...subject(device, additionalSans), ttlMs });
      const why = `id ${made.id}`;
      await audit.append({ action: 'token_created', actor: 'operator', service: device, result: 'ok', why });
      return made;
    },
    /** @throws SL-TOK-*, SL-CSR-*, SL-KEY-001, SL-CA-003, SL-CA-005 */
    enroll(asked: Asked & { readonly token: string }): Promise<InventoryEntry> {
      return proof.byToken(asked, async ({ claims, additionalSans }) => {
        if (claims.type !== 'device') {
          throw new SidelockError('SL-TOK-004', `the join token is for the service ${claims.sub}, not for a device`, {
            fix: 'sidelock device token NAME',
          });
        }
        return { issuer: await signer(), subject: subject(claims.sub, additionalSans) };
      });
    },
    /**
     * A fresh certificate for the device whose leaf the connection showed. A request that names somebody else is refused
     * (RFC 7030 4.2.2). @throws SL-API-002, SL-CERT-001, SL-NAME-004, SL-CSR-*, SL-KEY-001, SL-CA-003
     */
    renew(asked: Asked & { readonly chain: readonly Buffer[] }): Promise<InventoryEntry> {
      return proof.byLeaf(asked, async ({ proven: { leaf, spiffeId, service }, presented }) => {
        if (presented?.type !== 'device') {
          throw new SidelockError('SL-API-002', `serial ${leaf.serial} is not that of a device`, {
            why: `it is that of ${spiffeId.uri}, which renews by /v1/renew`,
          });
        }
        const own = new Set([service, spiffeId.uri, ...presented.sans]);
        const other = verifyCsr(asked.csr, 'the request').requestedNames.find((name) => !own.has(name));
        if (other !== undefined) {
          throw new SidelockError('SL-NAME-004', `${service} asks for the name ${other.slice(0, 120)}`, {
            why: 'a device renews under the names of its certificate',
          });
        }
        return { issuer: await signer(), subject: subject(service, presented.additionalSans) };
      });
    },
  };
}
