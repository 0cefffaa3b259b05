/** Every check by its id, which never changes its meaning, with what it asks. The part before the dot is its group. */
export const CHECKS = {
  'machine.node': 'Node has the security fixes that the proxy relies on',
  'machine.disk': 'the disk of the storage has room',
  'machine.files': 'enough files may be open: each connection takes two',
  'machine.inotify': 'changes of files can be watched',
  'machine.clock': 'no file of the storage is from the future',
  'machine.ports': 'the ports of the manager are free (`--pre`)',
  'storage.directory': 'the storage is there, or can be made (`--pre`)',
  'storage.modes': 'nobody else may read keys or write to the storage',
  'storage.socket': 'nobody else may give the manager orders',
  'storage.lock': 'the manager that holds the storage answers',
  'manager.running': 'a manager runs on the storage',
  'manager.address': 'the API answers at the address that join tokens carry',
  'manager.metrics': 'health and metrics can be scraped',
  'ca.life': 'the root lives long enough to be replaced in time',
  'ca.passphrase': 'the key of the root is encrypted at rest',
  'ca.crl': 'the revocation list is younger than its next update',
  'certificates.fit': 'files, chain, names and usages of every certificate are as peers demand',
  'certificates.expiry': 'no certificate is about to end, or was not renewed in time',
  'trust.rollover': 'no change of roots is stuck',
  'sidecars.heard': 'every sidecar is heard of',
  'sidecars.serving': 'every sidecar that ever showed a certificate shows the one issued last',
  'sidecars.bundle': 'every sidecar has the trust bundle in force',
  'alerts.receivers': 'those who are told of alerts can be reached',
  'alerts.firing': 'no alert fires',
  'cluster.version': 'Kubernetes has native sidecars (`--kubernetes`)',
  'cluster.rights': 'you may read what is checked; with `--pre`: make what `sidelock install` prints (`--kubernetes`)',
  'cluster.meshes': 'no other mesh injects sidecars',
  'cluster.psa': 'Pod Security of the labelled namespaces lets sidecars in',
  'cluster.webhook': 'sidelock is installed, and its webhook has ready replicas',
  'cluster.bundle': 'the API server trusts the certificate of the webhook',
  'cluster.trust': 'the roots that pods get are published',
  'cluster.injection': 'a pod that is tried (and not kept) gets a sidecar',
  'cluster.pods': 'every pod that should have a sidecar has one',
  'cluster.sidecars': 'every sidecar is ready',
  'cluster.plaintext': 'no listener and no Service leads to an app in plaintext',
  'sidecar.answers': 'the admin port answers',
  'sidecar.ready': 'it is ready',
  'sidecar.identity': 'its certificate is not about to end',
  'sidecar.served': 'it serves the certificate and the bundle that the manager issued',
  'sidecar.manager': 'it reaches its manager',
  'sidecar.clock': 'its clock agrees with that of the manager',
  'sidecar.crl': 'its revocation list is younger than its next update',
  'sidecar.reload': 'it serves what is on disk and in its config',
  'sidecar.plaintext': 'no listener takes callers without TLS',
} as const;

export type CheckId = keyof typeof CHECKS;

/** From the best to the worst. `info` is worth knowing and never a failure. */
export type Status = 'ok' | 'info' | 'warning' | 'error';

/** What one check found; a check that found several faults has one for each. */
export interface Finding {
  readonly id: CheckId;
  readonly status: Status;
  /** One line. */
  readonly summary: string;
  /** The fact behind it; absent when all is well. */
  readonly why?: string | undefined;
  /** A command or an edit; absent when all is well. */
  readonly fix?: string | undefined;
}

export function ok(id: CheckId, summary: string): Finding {
  return { id, status: 'ok', summary };
}

interface Remedy {
  readonly why?: string | undefined;
  readonly fix: string;
}

export function fault(id: CheckId, status: Exclude<Status, 'ok'>, summary: string, { why, fix }: Remedy): Finding {
  return { id, status, summary, ...(why === undefined ? {} : { why }), fix };
}

/** The faults, or when there are none that all is well. */
export function orOk(faults: readonly Finding[], id: CheckId, summary: string): readonly Finding[] {
  return faults.length === 0 ? [ok(id, summary)] : faults;
}

export function groupOf({ id }: Pick<Finding, 'id'>): string {
  return id.slice(0, id.indexOf('.'));
}
