import { SECOND } from '../base/clock.ts';
import { exchange, openClient, type Transport } from './client-transport.ts';
import {
  type CertificateAnswer,
  type CertificateList,
  type CertificateRequest,
  certificateAnswer,
  certificateList,
  type DashboardAnswer,
  dashboardAnswer,
  PATHS,
  type RevocationAnswer,
  type RevocationRequest,
  revocationAnswer,
  type StatusAnswer,
  statusAnswer,
  type TokenAnswer,
  type TokenList,
  type TokenRequest,
  tokenAnswer,
  tokenList,
} from './wire.ts';
import { type CaImportAnswer, type CaImportRequest, type CaRootRequest, caImportAnswer } from './wire-ca.ts';
import {
  backupNoted,
  type DeviceAnswer,
  type DeviceRequest,
  type DeviceTokenRequest,
  deviceAnswer,
  type ValidationAnswer,
  validationAnswer,
} from './wire-care.ts';
import { type TrustStatusAnswer, type TrustStepRequest, trustStatus } from './wire-trust.ts';

interface SocketClient {
  createToken(request: TokenRequest): Promise<TokenAnswer>;
  listTokens(): Promise<TokenList>;
  /** `id` as `listTokens` shows it. */
  revokeToken(id: string): Promise<TokenList>;
  /** Makes key and certificate in the store of the manager; the key is not in the answer. */
  generate(request: CertificateRequest): Promise<CertificateAnswer>;
  listCertificates(): Promise<CertificateList>;
  showCertificate(service: string): Promise<CertificateAnswer>;
  /** Replaces key and certificate in the store of the manager, due or not. */
  rotate(service: string): Promise<CertificateAnswer>;
  /** Of these services, or of everything. */
  validate(services?: readonly string[]): Promise<ValidationAnswer>;
  /** Tells the audit log of a backup that is about to be written. */
  noteBackup(file: string): Promise<unknown>;
  revoke(request: RevocationRequest): Promise<RevocationAnswer>;
  createDevice(request: DeviceRequest): Promise<DeviceAnswer>;
  /** For a device that makes its own key. */
  createDeviceToken(request: DeviceTokenRequest): Promise<TokenAnswer>;
  trustStatus(): Promise<TrustStatusAnswer>;
  /** A step of the succession of roots; with `dryRun` only what stands against it. */
  trustStep(request: TrustStepRequest): Promise<TrustStatusAnswer>;
  /** Makes somebody's CA the next root; with `dryRun` only says what is wrong with it. The key passes this socket alone. */
  importCa(request: CaImportRequest): Promise<CaImportAnswer>;
  /** Without `key` that of the root leaves the storage, with it it comes back. */
  rootKey(request: CaRootRequest): Promise<TrustStatusAnswer>;
  status(): Promise<StatusAnswer>;
  dashboard(): Promise<DashboardAnswer>;
}

/** The manager is of this machine and ours: an inventory of 100,000 certificates has room. */
const MAX_ANSWER = 64 << 20;

/**
 * Admin calls to the manager that runs on this machine. Who may open the socket is the file system's decision.
 * @throws SidelockError SL-MGR-001 when no manager runs there, SL-MGR-002, or what the manager answered.
 */
export function socketClient(socketPath: string, timeoutMs: number = 30 * SECOND): SocketClient {
  const transport: Transport = {
    where: socketPath,
    timeoutMs,
    maxAnswer: MAX_ANSWER,
    connect: () => openClient('http://manager', { socketPath }, MAX_ANSWER),
  };
  return {
    createToken: (body) => exchange(transport, { method: 'POST', path: PATHS.tokens, body }, tokenAnswer),
    listTokens: () => exchange(transport, { method: 'GET', path: PATHS.tokens }, tokenList),
    revokeToken: (id) =>
      exchange(transport, { method: 'DELETE', path: `${PATHS.tokens}/${encodeURIComponent(id)}` }, tokenList),
    generate: (body) => exchange(transport, { method: 'POST', path: PATHS.certificates, body }, certificateAnswer),
    listCertificates: () => exchange(transport, { method: 'GET', path: PATHS.certificates }, certificateList),
    showCertificate: (service) =>
      exchange(
        transport,
        { method: 'GET', path: `${PATHS.certificates}/${encodeURIComponent(service)}` },
        certificateAnswer,
      ),
    rotate: (service) =>
      exchange(
        transport,
        { method: 'POST', path: `${PATHS.certificates}/${encodeURIComponent(service)}/rotate` },
        certificateAnswer,
      ),
    validate(services) {
      const query = services === undefined ? '' : `?service=${encodeURIComponent(services.join(','))}`;
      return exchange(transport, { method: 'GET', path: `${PATHS.validation}${query}` }, validationAnswer);
    },
    noteBackup: (file) => exchange(transport, { method: 'POST', path: PATHS.backups, body: { file } }, backupNoted),
    revoke: (body) => exchange(transport, { method: 'POST', path: PATHS.revocations, body }, revocationAnswer),
    dashboard: () => exchange(transport, { method: 'GET', path: PATHS.dashboard }, dashboardAnswer),
    createDevice: (body) => exchange(transport, { method: 'POST', path: PATHS.devices, body }, deviceAnswer),
    createDeviceToken: (body) => exchange(transport, { method: 'POST', path: PATHS.deviceTokens, body }, tokenAnswer),
    trustStatus: () => exchange(transport, { method: 'GET', path: PATHS.trustState }, trustStatus),
    trustStep: (body) => exchange(transport, { method: 'POST', path: PATHS.trustState, body }, trustStatus),
    importCa: (body) => exchange(transport, { method: 'POST', path: PATHS.caImport, body }, caImportAnswer),
    rootKey: (body) => exchange(transport, { method: 'POST', path: PATHS.caRoot, body }, trustStatus),
    status: () => exchange(transport, { method: 'GET', path: PATHS.status }, statusAnswer),
  };
}
