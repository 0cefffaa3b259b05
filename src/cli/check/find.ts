import { createServer } from 'node:net';
import { systemClock } from '../../base/clock.ts';
import { isSidelockError } from '../../base/errors.ts';
import { formatAddress, listen } from '../../base/listen.ts';
import type { ManagerConfig } from '../../config/manager.ts';
import type { Context } from '../command.ts';
import { loadManagerConfig, type ManagerFlags } from '../manager-options.ts';
import { checkAuthority } from './authority.ts';
import { type CertificateFacts, checkCertificates } from './certificates.ts';
import { type Finding, fault, ok } from './finding.ts';
import { checkMachine } from './machine.ts';
import { machineFacts } from './machine-facts.ts';
import { checkManager } from './manager.ts';
import { managerFacts } from './manager-facts.ts';
import { checkSidecar } from './sidecar.ts';
import { sidecarFacts } from './sidecar-facts.ts';
import { checkPlace, checkStorage } from './storage.ts';
import { storageFacts } from './storage-facts.ts';

export interface CheckFlags extends ManagerFlags {
  readonly pre?: boolean;
  readonly kubernetes?: boolean;
  readonly namespace: string;
  readonly admin?: readonly string[];
  readonly failOn: 'warning' | 'error';
  readonly only?: readonly string[];
  /** Milliseconds. */
  readonly expiryThreshold?: number;
}

/** Gathers what the flags ask for, and judges it. Nothing is changed. @throws SL-CFG-* */
export async function findAll(context: Context, flags: CheckFlags): Promise<Finding[]> {
  if (flags.kubernetes === true) {
    const { namespace, pre = false } = flags;
    const [{ clusterFacts }, { checkCluster, checkClusterBefore }] = await Promise.all([
      import('./cluster-facts.ts'),
      import('./cluster.ts'),
    ]);
    const facts = await clusterFacts({ namespace, pre });
    return pre ? checkClusterBefore(facts) : checkCluster(facts);
  }
  const now = systemClock.now();
  const config = await loadManagerConfig(context, flags);
  const { path } = config.storage;
  const machine = checkMachine(await machineFacts(path, now));
  if (flags.pre === true) {
    return [...machine, ...checkPlace(await storageFacts(path)), ...(await checkPorts(config))];
  }
  const { admin = [] } = flags;
  const asked = flags.storage !== undefined || flags.config !== undefined || admin.length === 0;
  const { findings, certificates } = asked ? await findOfManager(context, flags, { config, now }) : NOTHING;
  const sidecars = await Promise.all(
    admin.map(async (address) => checkSidecar(await sidecarFacts(address, certificates, now))),
  );
  return [...machine, ...findings, ...sidecars.flat()];
}

interface Found {
  readonly findings: readonly Finding[];
  /** What the sidecars are compared with. */
  readonly certificates: CertificateFacts | undefined;
}

const NOTHING: Found = { findings: [], certificates: undefined };

async function findOfManager(
  context: Context,
  flags: CheckFlags,
  { config, now }: { readonly config: ManagerConfig; readonly now: number },
): Promise<Found> {
  const storage = await storageFacts(config.storage.path);
  const lying = checkStorage(storage);
  if (storage.directory === undefined) return { findings: lying, certificates: undefined };
  const known = await managerFacts(context, { config, flags, storage, expiryThresholdMs: flags.expiryThreshold, now });
  if (known.fault !== undefined) {
    const { code, message, why, fix } = known.fault;
    const id = code === 'SL-STORE-002' ? 'storage.lock' : 'manager.running';
    return { findings: [...lying, fault(id, 'error', message, { why, fix })], certificates: undefined };
  }
  const { manager, authority, certificates } = known;
  const holder = manager.running ? 'the manager that holds the storage answers' : 'nobody holds the storage';
  const findings = [
    ...lying,
    ok('storage.lock', holder),
    ...checkManager(manager),
    ...checkAuthority(authority),
    ...checkCertificates(certificates),
  ];
  return { findings, certificates };
}

/** By binding them for a moment. */
async function checkPorts(config: ManagerConfig): Promise<Finding[]> {
  const wanted = { 'the API': config.listen, 'health and metrics': config.health };
  return await Promise.all(
    Object.entries(wanted).map(async ([what, address]) => {
      const server = createServer();
      try {
        await listen(server, address, what);
        return ok('machine.ports', `${formatAddress(address)} is free for ${what}`);
      } catch (error) {
        if (!isSidelockError(error)) throw error;
        return fault('machine.ports', 'error', error.message, error);
      } finally {
        server.close();
      }
    }),
  );
}
