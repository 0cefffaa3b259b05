import { mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { DAY, HOUR, MINUTE } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import type { TrustBundle } from '../pki/bundle.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import { profileOf, type ServiceType } from '../pki/profiles.ts';
import { nextRenewal } from '../pki/renewal.ts';
import { openFileStore } from '../store/file-store.ts';
import { CRL_FILE, DIRECTORY_MODE, STATE_DIR } from '../store/layout.ts';
import { lockDirectory } from '../store/lock.ts';
import { checkDirectory } from '../store/rights.ts';
import type { CertStore, ServiceCertificate } from '../store/store.ts';
import { type AuditLog, openAuditLog } from './audit.ts';
import { createByProof } from './by-proof.ts';
import { type CaCare, createCaCare } from './ca-care.ts';
import { createDevices } from './devices.ts';
import { createEarlyRenewals, type EarlyRenewals } from './early-renewals.ts';
import { createEdges, type Edges } from './edges.ts';
import { createEnrolment, type Enrolment } from './enrolment.ts';
import { refuseOtherNamespace } from './held-names.ts';
import { type InventoryEntry, openInventory } from './inventory.ts';
import { pruneInventory } from './inventory-prune.ts';
import { type Caller, checkClock, createIssuer } from './issuer.ts';
import { createManagerMetrics } from './metrics.ts';
import { createFollow, type Follower, type Report } from './news.ts';
import { createNotices, type Notices } from './notices.ts';
import type { ManagerOptions } from './options.ts';
import { createOwnIdentity } from './own-identity.ts';
import { proveLeaf } from './renewal-proof.ts';
import { openRevocations, type Revocations } from './revocations.ts';
import { type RotationManager, startRotation } from './rotation.ts';
import { lastServed, type Served } from './served.ts';
import { createSslContext, type SslContext } from './ssl-context.ts';
import { checkSubject, type Subject } from './subject.ts';
import { openTokens, type TokenRecord } from './tokens.ts';
import { createTrust, type Trust } from './trust.ts';
import { showTrust } from './trust-metrics.ts';
import { openRoots, openState } from './trust-roots.ts';
import { type ValidationReport, validateAll } from './validation.ts';

interface ServiceRequest {
  readonly serviceName: string;
  readonly serviceType: ServiceType;
  readonly additionalSans?: readonly string[];
  /** `default` unless given. */
  readonly namespace?: string;
}

interface GeneratedCertificate {
  readonly privateKey: string;
  readonly certificate: string;
}

interface TokenRequest {
  readonly service: string;
  readonly namespace?: string | undefined;
  readonly type?: string | undefined;
  readonly additionalSans?: readonly string[] | undefined;
  /** Milliseconds. */
  readonly ttlMs?: number | undefined;
}

/** The certificate manager of one storage directory. Safe to use from many callers at once. */
export interface Manager extends Enrolment, AsyncDisposable {
  /** Of the root that signs now. */
  readonly ca: {
    readonly caName: string;
    readonly rootSha256: string;
    readonly rootNotBefore: number;
    readonly rootNotAfter: number;
    /** Makes key and certificate (leaf, then its chain) as PEM and keeps neither in the store: they are the caller's. */
    generateServiceCertificate(request: ServiceRequest): Promise<GeneratedCertificate>;
  };
  readonly store: CertStore & { readonly storagePath: string };
  readonly trustDomain: string;
  /** Where sidecars reach the API. */
  address(): string;
  /** Makes key and certificate for a service and keeps them in the store, in place of what was there. */
  initializeServiceCertificate(request: ServiceRequest): Promise<ServiceCertificate>;
  /** TLS options for either side of a connection of that service; the same until the files change. @throws SL-STORE-001 */
  getSslContext(service: string): Promise<SslContext>;
  /** The newest certificate of each identity, by `service`, or `namespace/service` outside of `default`. */
  listAllCertificates(): Map<string, InventoryEntry>;
  /** The `limit` certificates issued last, newest first. */
  recentlyIssued(limit: number): InventoryEntry[];
  trustBundle(): TrustBundle;
  readonly tokens: {
    create(request: TokenRequest): Promise<{ readonly token: string; readonly id: string; readonly expiresAt: number }>;
    list(): Promise<TokenRecord[]>;
    /** False when there is no such unused token. */
    revoke(id: string): Promise<boolean>;
  };
  /** Keys and certificates of devices (EC P-256), handed out once and kept nowhere. */
  readonly devices: ReturnType<typeof createDevices>;
  readonly rotationManager: RotationManager;
  readonly revocations: Revocations;
  readonly notices: Notices;
  readonly edges: Edges;
  readonly caCare: CaCare;
  /** How one root follows another. */
  readonly trust: Omit<Trust, 'heard' | 'watch'>;
  /** Notes what a sidecar serves with; see {@link createFollow}. */
  follow(report: Report): Promise<Follower | undefined>;
  readonly early: EarlyRenewals;
  readonly audit: AuditLog;
  /** Looks at what there is, or at these services, without changing anything. */
  validate(services?: readonly string[]): Promise<ValidationReport>;
  /** See {@link lastServed}. */
  served(): ReadonlyMap<string, Served>;
  /** When this certificate should be renewed, ms since the epoch. */
  renewAt(entry: InventoryEntry): number;
  /** Why no certificate can be issued now; empty when one can. */
  blockers(): ReadonlyArray<{ readonly name: string; readonly why: string }>;
  /** What the API is served with. */
  managerIdentity(): Promise<IdentityMaterial>;
  readonly version: string;
  /** ms since the epoch. */
  readonly startedAt: number;
}

/**
 * Opens the storage, making the certificate authority at the first start.
 * @throws SidelockError SL-STORE-002 another manager runs on it, SL-CA-001, SL-CA-002, SL-CA-003, SL-FS-003.
 */
export async function createManager(options: ManagerOptions): Promise<Manager> {
  const { storagePath, clock, random, log, trustDomain = 'ai-teddy.local', version = 'unknown' } = options;
  const { ca = {}, certificates = {}, tokens: tokenOptions = {} } = options;
  const address = () => (typeof options.address === 'string' ? options.address : options.address());
  const thresholdMs = certificates.rotationThresholdMs ?? 30 * DAY;
  const metrics = createManagerMetrics(options.metrics, version);
  const stateDirectory = join(storagePath, STATE_DIR);
  const startedAt = clock.now();

  await using opened = new AsyncDisposableStack();
  // It holds the CA key: nobody else may even list it.
  await mkdir(stateDirectory, { recursive: true, mode: DIRECTORY_MODE });
  await checkDirectory(stateDirectory, { repair: true, log });
  opened.use(await lockDirectory(stateDirectory, { clock }));
  const store = await openFileStore({ path: storagePath, clock, log, repairModes: true });
  const { keptBytes } = options.audit ?? {};
  const auditPath = join(stateDirectory, 'audit.log');
  const audit = opened.use(await openAuditLog({ path: auditPath, keptBytes, clock, log, metrics }));
  const inventory = await openInventory(join(stateDirectory, 'inventory'), log);
  const dnsDomains = (certificates.allowedSans ?? [])
    .filter((name) => isIP(name) === 0)
    .map((name) => name.replace(/^\./, ''));
  const authorityOptions = {
    stateDirectory,
    name: ca.name ?? 'AI-Teddy-CA',
    keySize: ca.keySize ?? 4096,
    validityYears: ca.validityYears ?? 10,
    passphrase: ca.passphrase,
    issuer: ca.issuer ?? false,
    trustDomain,
    dnsDomains,
    clock,
    log,
    onProgress: options.onProgress ?? (() => {}),
  };
  const usedBefore = inventory.size > 0 || audit.head().seq > 0;
  const { state, created } = await openState({ ...authorityOptions, usedBefore });
  const roots = await openRoots(authorityOptions, state);
  const { root, name } = roots.authority;
  if (created) await audit.append({ action: 'ca_created', actor: 'manager', serial: root.serial, result: 'ok' });
  log.info({ event: 'ca_opened', name, rootSha256: root.fingerprint256, created }, 'CA is open');

  const stop = new AbortController();
  opened.defer(() => stop.abort());
  const isRevoked = (serial: string) => revocations.get(serial) !== undefined;
  const trust = createTrust({
    ...{ roots, authority: authorityOptions, inventory, audit, signal: stop.signal },
    isRevoked,
    async heldFiles({ service, serial }, bundlePem) {
      // Whoever uses a damaged one has the bundle once it is mended, and not before.
      const held = await store.load(service).catch(() => 'damaged' as const);
      if (held === 'damaged') return { current: false };
      if (held?.leaf.serial !== serial) return undefined;
      return { current: held.caCertificate.toString() === bundlePem };
    },
    openTokens: async () => (await tokens.list()).filter((token) => token.state === 'open'),
    async changed() {
      await revocations.renew();
      await rotationManager.checkAndRotateCertificates();
    },
  });
  const { authority } = trust;
  const tokens = await openTokens({
    directory: join(stateDirectory, 'tokens'),
    rootSha256: () => authority().root.fingerprint256,
    address,
    ...{ ttlMs: tokenOptions.ttlMs ?? 10 * MINUTE, maxTtlMs: tokenOptions.maxTtlMs ?? HOUR, clock, metrics },
  });
  const expiredGraceMs = certificates.expiredGraceMs ?? DAY;
  const revocations = await openRevocations({
    stateDirectory,
    published: join(storagePath, CRL_FILE),
    signers: trust.signers,
    inventory,
    audit,
    graceMs: expiredGraceMs,
    ...{ clock, log, signal: stop.signal },
  });
  metrics.showCrl(() => revocations.crl());
  const issuing = {
    ...{ inventory, audit, trustDomain, validityMs: certificates.validityMs, clock, log, metrics },
    isRevokedKey(spki: string) {
      const serial = inventory.newestOfKey(spki)?.serial;
      return serial !== undefined && isRevoked(serial);
    },
  };
  const issuer = createIssuer({ ...issuing, authority, keyType: certificates.keyType ?? 'rsa-2048' });
  const prove = (chain: readonly Buffer[], use: 'acting' | 'reporting' | 'reading' = 'acting') =>
    proveLeaf({
      ...{ chain, bundle: trust.proving(), trustDomain, now: clock.now(), expiredGraceMs },
      // The holder of a revoked certificate may hear that it is revoked, and do nothing else with it.
      crl: use === 'reading' ? undefined : revocations.crl(),
      signingRoot: authority().root.fingerprint256,
      isOnRecord: ({ serial, fingerprint256 }) =>
        inventory.get(serial)?.fingerprint256 === fingerprint256 && !isRevoked(serial),
    });
  const podValidityMs = options.pods?.validityMs ?? DAY;
  const early = createEarlyRenewals(inventory, clock);
  const proof = createByProof({ tokens, inventory, audit, prove, clock, log, metrics });
  const enrolment = createEnrolment({
    proof,
    issuer,
    reviewPod: options.pods?.review,
    podIssuer: createIssuer({ ...issuing, authority, keyType: 'ecdsa-p256', validityMs: podValidityMs }),
    inventory,
    clock,
  });
  const notices = createNotices({ inventory, prove, clock, log, metrics });
  const managerIdentity = createOwnIdentity({ authority, trustDomain, address, audit, clock, log });
  await managerIdentity();
  const inTurn = createTurns();
  const subjectOf = (request: Parameters<typeof checkSubject>[0]) =>
    checkSubject(request, certificates.allowedSans ?? []);

  /** Issues into the store: certificate and key appear there together, or not at all. */
  const issueInto = (subject: Subject, caller: Caller) =>
    inTurn(subject.service, async () => {
      const { entry, privateKey } = await issuer.issueForService(subject, caller, true);
      await store.save(subject.service, {
        certificate: Buffer.from(entry.pem),
        privateKey,
        caCertificate: Buffer.from(authority().bundlePem),
      });
      return entry;
    });
  const loaded = async (service: string): Promise<ServiceCertificate> => {
    const found = await store.load(service);
    if (found !== undefined) return found;
    throw new SidelockError('SL-STORE-001', `there is no certificate of ${service} in ${storagePath}`);
  };

  const { rotationManager, ended } = startRotation({
    store,
    inventory,
    thresholdMs,
    isRevoked,
    generation: trust.generation,
    isOld: trust.isOld,
    refresh: (service) =>
      inTurn(service, async () => {
        const held = await store.load(service);
        const bundle = Buffer.from(authority().bundlePem);
        if (held === undefined || held.caCertificate.equals(bundle)) return;
        const { certificate, privateKey } = held;
        await store.save(service, { certificate, privateKey, caCertificate: bundle });
      }),
    async reissue(entry) {
      const next = await issueInto(subjectOf(entry), { actor: 'manager' });
      await inventory.supersede(entry.serial, next.serial, clock.now());
      return next;
    },
    clock,
    random,
    log,
    signal: stop.signal,
  });
  metrics.showCertificates(() => [
    ...inventory.newest().flatMap((e) => (isRevoked(e.serial) ? [] : [{ ...e, source: 'issued' as const }])),
    { ...authority().root, service: name, namespace: '', source: 'ca' },
  ]);
  const validation = {
    ...{ store, storagePath, stateDirectory, inventory, authority, bundle: trust.bundle, isRevoked },
    ...{ trustDomain, thresholdMs, clock },
  };
  const devices = createDevices({ authority, issuing, subjectOf, issuer: authorityOptions, tokens, proof });
  const contexts = new Map<string, { readonly fingerprint: string; readonly context: SslContext }>();
  showTrust(options.metrics, trust);
  const pruning = pruneInventory({ inventory, graceMs: expiredGraceMs, clock, log, signal: stop.signal });
  const watching = trust.watch();
  // Whoever gets the lock next must be the only one who writes.
  opened.defer(() => Promise.all([ended, watching, pruning, revocations.ended]).then(() => {}));
  const running = opened.move();

  return {
    ...enrolment,
    ca: {
      caName: name,
      get rootSha256() {
        return authority().root.fingerprint256;
      },
      get rootNotBefore() {
        return authority().root.notBefore;
      },
      get rootNotAfter() {
        return authority().root.notAfter;
      },
      async generateServiceCertificate({ serviceName: service, serviceType: type, ...more }) {
        const made = await issuer.issueForService(subjectOf({ service, type, ...more }), { actor: 'operator' });
        return { privateKey: made.privateKey.toString(), certificate: made.entry.pem };
      },
    },
    store: { ...store, storagePath },
    trustDomain,
    address,
    async initializeServiceCertificate({ serviceName, serviceType, additionalSans, namespace }) {
      const subject = subjectOf({ service: serviceName, type: serviceType, additionalSans, namespace });
      await refuseOtherNamespace(store, subject);
      await issueInto(subject, { actor: 'operator' });
      return await loaded(serviceName);
    },
    async getSslContext(service) {
      const files = await loaded(service);
      const known = contexts.get(service);
      const fingerprint = `${files.leaf.fingerprint256} ${files.caCertificate.toString('latin1')}`;
      if (known?.fingerprint === fingerprint) return known.context;
      const context = createSslContext(files);
      contexts.set(service, { fingerprint, context });
      return context;
    },
    listAllCertificates() {
      const newest = inventory.newest().map((entry) => [listName(entry), entry] as const);
      return new Map(newest.sort(([a], [b]) => (a < b ? -1 : 1)));
    },
    recentlyIssued: (limit) => inventory.recent(limit),
    trustBundle: trust.bundle,
    tokens: {
      async create({ ttlMs, ...request }) {
        const subject = subjectOf(request);
        const created = await tokens.create({ ...subject, ttlMs });
        await audit.append({
          action: 'token_created',
          actor: 'operator',
          service: subject.service,
          result: 'ok',
          why: `id ${created.id}`,
        });
        return created;
      },
      list: () => tokens.list(),
      async revoke(id) {
        const revoked = await tokens.revoke(id);
        if (revoked) await audit.append({ action: 'token_revoked', actor: 'operator', result: 'ok', why: `id ${id}` });
        return revoked;
      },
    },
    devices,
    caCare: createCaCare({
      ...{ trust, authority: authorityOptions, audit, prepare: devices.prepare },
      leafMs: certificates.validityMs ?? profileOf('api_service').validityDays * DAY,
    }),
    rotationManager,
    revocations,
    notices,
    edges: createEdges({ prove, clock }),
    trust,
    follow: createFollow({ trust, inventory, early, prove }),
    early,
    audit,
    validate: (services) => validateAll(validation, services),
    served: () => lastServed(inventory, trust),
    renewAt: (entry) => nextRenewal(entry, thresholdMs, () => 0),
    blockers() {
      try {
        checkClock(authority(), inventory, clock.now());
        return [];
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        return [{ name: 'ca', why: error.why ?? error.message }];
      }
    },
    managerIdentity,
    version,
    startedAt,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running.disposeAsync();
    },
  };
}

function listName({ service, namespace }: InventoryEntry): string {
  return namespace === 'default' ? service : `${namespace}/${service}`;
}
