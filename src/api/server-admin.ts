import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Clock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import type { InventoryEntry } from '../manager/inventory.ts';
import type { Manager } from '../manager/manager.ts';
import { parseServiceType } from '../pki/profiles.ts';
import { readBody } from './server-body.ts';
import {
  type CertificateAnswer,
  type CertificateList,
  type CertificateRecord,
  certificateRequest,
  PATHS,
  type RevocationAnswer,
  revocationRequest,
  type StatusAnswer,
  type TokenAnswer,
  type TokenList,
  tokenRequest,
} from './wire.ts';
import {
  backupNote,
  type DeviceAnswer,
  deviceRequest,
  deviceTokenRequest,
  type ValidationAnswer,
} from './wire-care.ts';

/** One answer holds no more; what is beyond them is counted. */
const MAX_FINDINGS = 1000;

interface AdminContext {
  readonly clock: Clock;
  /** HOST:PORT of health and metrics. */
  readonly health: () => string;
}

/** The calls of an operator. Registered on the unix socket only: who may open it is the file system's decision. */
export function adminRoutes(app: FastifyInstance, manager: Manager, { clock, health }: AdminContext): void {
  const record = async (entry: InventoryEntry, served = manager.served()): Promise<CertificateRecord> => {
    const { service, namespace, type, serial, spiffeId, sans, notBefore, notAfter, keyType } = entry;
    const { fingerprint256, issuedAt, by, supersededBy, reported } = entry;
    const held = entry.by === 'generate' ? await manager.store.load(service) : undefined;
    const revoked = manager.revocations.get(serial);
    const shown = served.get(spiffeId)?.serial;
    return {
      ...{ service, namespace, type, serial, spiffeId, sans: [...sans], notBefore, notAfter, keyType },
      ...{ fingerprint256, issuedAt, by },
      ...(supersededBy === undefined ? {} : { supersededBy }),
      ...(reported === undefined ? {} : { reported }),
      ...(shown === undefined ? {} : { servedSerial: shown }),
      ...(revoked === undefined ? {} : { revokedAt: revoked.at, revocationReason: revoked.reason }),
      ...(held?.leaf.serial === serial ? { directory: join(manager.store.storagePath, service) } : {}),
    };
  };
  const answer = async (name: string): Promise<CertificateAnswer> => {
    const entry = manager.listAllCertificates().get(name);
    if (entry === undefined) throw new SidelockError('SL-STORE-001', `no certificate was issued for ${name}`);
    return { certificate: await record(entry), pem: entry.pem, bundle: manager.trustBundle().pem };
  };
  const tokens = async (): Promise<TokenList> => ({ tokens: await manager.tokens.list() });

  app.post(PATHS.tokens, async (request): Promise<TokenAnswer> => {
    const { sans, ttlSeconds, ...wanted } = readBody(tokenRequest, request.body);
    const ttlMs = ttlSeconds === undefined ? undefined : ttlSeconds * 1000;
    return await manager.tokens.create({ ...wanted, additionalSans: sans, ttlMs });
  });
  app.get(PATHS.tokens, tokens);
  app.delete<{ Params: { id: string } }>(`${PATHS.tokens}/:id`, async ({ params: { id } }) => {
    if (await manager.tokens.revoke(id)) return await tokens();
    throw new SidelockError('SL-STORE-001', `there is no unused token ${id}`, { fix: 'sidelock token list' });
  });

  app.post(PATHS.certificates, async (request) => {
    const { service, type, sans = [], namespace = 'default' } = readBody(certificateRequest, request.body);
    await manager.initializeServiceCertificate({
      serviceName: service,
      serviceType: parseServiceType(type),
      additionalSans: sans,
      namespace,
    });
    return await answer(namespace === 'default' ? service : `${namespace}/${service}`);
  });
  app.get(PATHS.certificates, async (): Promise<CertificateList> => {
    const served = manager.served();
    const all = [...manager.listAllCertificates().values()];
    return { certificates: await Promise.all(all.map((entry) => record(entry, served))) };
  });
  app.get<{ Params: { name: string } }>(`${PATHS.certificates}/:name`, ({ params: { name } }) => answer(name));

  app.post<{ Params: { name: string } }>(`${PATHS.certificates}/:name/rotate`, async ({ params: { name } }) => {
    const { service, namespace } = await manager.rotationManager.rotateNow(name);
    return await answer(namespace === 'default' ? service : `${namespace}/${service}`);
  });
  app.get<{ Querystring: { service?: string } }>(PATHS.validation, async ({ query }): Promise<ValidationAnswer> => {
    const services = query.service?.split(',').filter((service) => service !== '');
    const { checked, findings } = await manager.validate(services);
    return { checked, findings: findings.slice(0, MAX_FINDINGS), left: Math.max(0, findings.length - MAX_FINDINGS) };
  });

  app.post(PATHS.devices, async (request): Promise<DeviceAnswer> => {
    const { device, sans } = readBody(deviceRequest, request.body);
    const made = await manager.devices.create({ device, additionalSans: sans });
    const { certificate, privateKey, caCertificate } = made;
    return { certificate, private_key: privateKey, ca_certificate: caCertificate };
  });
  app.post(PATHS.deviceTokens, async (request): Promise<TokenAnswer> => {
    const { device, sans, ttlSeconds } = readBody(deviceTokenRequest, request.body);
    const ttlMs = ttlSeconds === undefined ? undefined : ttlSeconds * 1000;
    return await manager.devices.createToken({ device, additionalSans: sans, ttlMs });
  });
  app.post(PATHS.backups, async (request): Promise<{ noted: true }> => {
    const { file } = readBody(backupNote, request.body);
    await manager.audit.append({ action: 'backup_started', actor: 'operator', result: 'ok', why: file });
    return { noted: true };
  });

  app.post(PATHS.revocations, async (request): Promise<RevocationAnswer> => {
    const { dryRun = false, ...wanted } = readBody(revocationRequest, request.body);
    const { revocations } = manager;
    const done = dryRun
      ? { revoked: revocations.affected(wanted), crlNumber: revocations.crl().number }
      : await revocations.revoke(wanted);
    const certificates = done.revoked
      .filter(({ serial }) => !dryRun || revocations.get(serial) === undefined)
      .map(({ service, namespace, serial, spiffeId, notAfter }) => ({
        service,
        namespace,
        serial,
        spiffeId,
        notAfter,
      }));
    return { certificates, crlNumber: done.crlNumber };
  });

  app.get(PATHS.status, async (): Promise<StatusAnswer> => {
    const { caName, rootSha256, rootNotAfter } = manager.ca;
    const open = (await manager.tokens.list()).filter(({ state }) => state === 'open').length;
    const { number, entries, thisUpdate, nextUpdate } = manager.revocations.crl();
    return {
      version: manager.version,
      caName,
      trustDomain: manager.trustDomain,
      rootSha256,
      rootNotAfter,
      certificates: manager.listAllCertificates().size,
      openTokens: open,
      crl: { number, revoked: entries.size, thisUpdate, nextUpdate },
      address: manager.address(),
      health: health(),
      storagePath: manager.store.storagePath,
      startedAt: manager.startedAt,
      time: clock.now(),
    };
  });
}
