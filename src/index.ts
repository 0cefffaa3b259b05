/**
 * The library: the manager inside a program of yours, under the names of the guide, and mTLS for a service of Node's
 * without a sidecar.
 */
export { isSidelockError, SidelockError } from './base/errors.ts';
export { createDispatcher, type DispatcherOptions, type FetchDispatcher } from './library/dispatcher.ts';
export { createIdentity, type Identity, type IdentityOptions, type IdentitySnapshot } from './library/identity.ts';
export { getMtlsOrchestrator, type MtlsOrchestrator, type OrchestratorOptions } from './library/kubernetes.ts';
export { getMtlsManager, type MtlsManager, type MtlsManagerOptions } from './library/manager.ts';
export { getCertificateMonitoringDashboard, type MonitoringOptions } from './library/monitoring.ts';
export type { PeerIdentity } from './library/peer.ts';
export { callerOf, type ServerSecurity, type ServerSecurityOptions, secureContextFor } from './library/server.ts';
export { type Alert, AlertLevel } from './manager/alerts/alert.ts';
export type { AlertHandler } from './manager/alerts/alert-manager.ts';
export type { DashboardData } from './manager/dashboard-data.ts';
export type { InventoryEntry } from './manager/inventory.ts';
export type { Monitoring } from './manager/monitor.ts';
export type { SslContext } from './manager/ssl-context.ts';
export { ServiceType } from './pki/profiles.ts';
export { explainTlsError, type TlsExplanation } from './sidecar/explain-tls.ts';
export type { ServiceCertificate } from './store/store.ts';
