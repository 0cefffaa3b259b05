import { isSidelockError, SidelockError } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import { verifyCsr } from '../pki/csr.ts';
import { DEVICE_NAMESPACE } from '../pki/names.ts';
import type { Authority } from './ca.ts';
import { DEVICE_DOMAIN, type DeviceIssuerOptions, openDeviceIssuer } from './device-issuer.ts';
import type { InventoryEntry } from './inventory.ts';
import { createIssuer, type IssuerOptions } from './issuer.ts';
import { type ProvenLeaf, refuseWeakerKey } from './renewal-proof.ts';
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
  readonly prove: (chain: readonly Buffer[]) => ProvenLeaf;
  readonly subjectOf: (request: {
    readonly service: string;
    readonly namespace: string;
    readonly additionalSans?: readonly string[] | undefined;
  }) => Subject;
}

interface Asked {
  readonly csr: string | Buffer;
  /** Address of the caller. */
  readonly remote: string;
}

/** Certificates of devices, under an issuer of their own that follows the root. */
export function createDevices({ authority, issuer, issuing, tokens, prove, subjectOf }: DevicesOptions) {
  const { inventory, audit, clock } = issuing;
  const inTurn = createTurns();
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
  const signer = async () => {
    const opened = await open();
    return createIssuer({ ...issuing, authority: () => opened, keyType: 'ecdsa-p256' });
  };
  const subject = (device: string, additionalSans: readonly string[] = []): Subject => {
    const asked = subjectOf({ service: device, namespace: DEVICE_NAMESPACE, additionalSans });
    const own = `${device}.${DEVICE_DOMAIN}`;
    return { ...asked, type: 'device', additionalSans: [...new Set([own, ...asked.additionalSans])] };
  };
  /** A refusal becomes a line of the audit log before it reaches the caller. */
  const audited = async <T>(
    action: 'token_refused' | 'certificate_refused',
    remote: string,
    work: () => Promise<T>,
  ) => {
    try {
      return await work();
    } catch (error) {
      if (isSidelockError(error))
        await audit.append({ action, actor: 'device', remote, result: 'refused', why: error.code });
      throw error;
    }
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
    enroll({ token, csr, remote }: Asked & { readonly token: string }): Promise<InventoryEntry> {
      return audited('token_refused', remote, async () => {
        const { claims, additionalSans } = await tokens.check(token);
        if (claims.type !== 'device') {
          throw new SidelockError('SL-TOK-004', `the join token is for the service ${claims.sub}, not for a device`, {
            fix: 'sidelock device token NAME',
          });
        }
        const wanted = subject(claims.sub, additionalSans);
        const actor = `token:${claims.id.slice(0, 8)}`;
        return await (await signer()).signCsr({
          ...{ csr, subject: wanted, by: 'token', actor, remote },
          async permit({ spkiSha256 }) {
            await tokens.consume(claims, { spkiSha256, remote });
            await audit.append({ action: 'token_used', actor, remote, service: claims.sub, result: 'ok' });
          },
        });
      });
    },
    /**
     * A fresh certificate for the device whose leaf the connection showed. A request that names somebody else is refused
     * (RFC 7030 4.2.2). @throws SL-API-002, SL-CERT-001, SL-NAME-004, SL-CSR-*, SL-KEY-001, SL-CA-003
     */
    renew({ chain, csr, remote }: Asked & { readonly chain: readonly Buffer[] }): Promise<InventoryEntry> {
      return audited('certificate_refused', remote, async () => {
        const { leaf, spiffeId, service, expired } = prove(chain);
        return await inTurn(leaf.serial, async () => {
          const presented = inventory.get(leaf.serial);
          if (presented?.type !== 'device') {
            throw new SidelockError('SL-API-002', `serial ${leaf.serial} is not that of a device`, {
              why: `it is that of ${spiffeId.uri}, which renews by /v1/renew`,
            });
          }
          const own = new Set([service, spiffeId.uri, ...presented.sans]);
          const other = verifyCsr(csr, 'the request').requestedNames.find((name) => !own.has(name));
          if (other !== undefined) {
            throw new SidelockError('SL-NAME-004', `${service} asks for the name ${other.slice(0, 120)}`, {
              why: 'a device renews under the names of its certificate',
            });
          }
          const entry = await (await signer()).signCsr({
            ...{ csr, subject: subject(service, presented.additionalSans), by: 'renew', presented },
            ...{ actor: spiffeId.uri, remote },
            async permit({ keyType }) {
              if (leaf.keyType !== undefined) refuseWeakerKey(leaf.keyType, keyType, service);
              if (presented.supersededBy !== undefined && (expired || presented.reusedAt !== undefined)) {
                throw new SidelockError('SL-API-002', `serial ${leaf.serial} of ${service} was already renewed`, {
                  why: `it was renewed to serial ${presented.supersededBy}`,
                  fix: `look at the audit log, then: sidelock device token ${service}`,
                });
              }
            },
          });
          if (entry.serial !== presented.supersededBy)
            await inventory.supersede(leaf.serial, entry.serial, clock.now());
          return entry;
        });
      });
    },
  };
}
