import { chownSync, mkdirSync, rmSync } from 'node:fs';
import { kubectl } from './kubectl.ts';
import { path } from './state.ts';

export const SYSTEM = 'sidelock-system';
const VOLUME = 'sidelock-manager';
const UID = 65_532;

/** A volume for the manager, whose namespace is new: this cluster has nobody who makes them. */
export async function makeVolume(): Promise<void> {
  const directory = path('volume');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chownSync(directory, UID, UID);
  await kubectl(['delete', 'persistentvolume', VOLUME, '--ignore-not-found', '--timeout=60s']);
  const spec = {
    capacity: { storage: '1Gi' },
    accessModes: ['ReadWriteOnce'],
    hostPath: { path: directory },
    claimRef: { namespace: SYSTEM, name: VOLUME },
  };
  const volume = { apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: VOLUME }, spec };
  await kubectl(['apply', '-f', '-'], JSON.stringify(volume));
}

/** Names of the pods of the webhook, each with its kind. */
export async function webhooks(): Promise<string[]> {
  const found = await kubectl(['-n', SYSTEM, 'get', 'pods', '-l', 'app.kubernetes.io/component=webhook', '-o', 'name']);
  return found.trim().split('\n');
}
