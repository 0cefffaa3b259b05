import { chownSync, mkdirSync, rmSync } from 'node:fs';
import { cli } from '../support/cli.ts';
import { kubectl } from './kubectl.ts';
import { ready } from './pods.ts';
import { SIDECAR_IMAGE } from './sidecar-image.ts';
import { path } from './state.ts';

export const SYSTEM = 'sidelock-system';
const VOLUME = 'sidelock-manager';
const UID = 65_532;

/** What `sidelock install` prints, with the image of the tests. */
export async function installManifests(): Promise<string> {
  const { code, stdout, stderr } = await cli([
    'install',
    '--manager-image',
    SIDECAR_IMAGE,
    '--sidecar-image',
    SIDECAR_IMAGE,
  ]);
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

/** A volume for the manager: this cluster has nobody who makes them. */
export async function makeVolume(): Promise<void> {
  const directory = path('volume');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chownSync(directory, UID, UID);
  await kubectl(['delete', 'persistentvolume', VOLUME, '--ignore-not-found', '--wait=false']);
  const spec = {
    capacity: { storage: '1Gi' },
    accessModes: ['ReadWriteOnce'],
    hostPath: { path: directory },
    claimRef: { namespace: SYSTEM, name: VOLUME },
  };
  const volume = { apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: VOLUME }, spec };
  await kubectl(['apply', '-f', '-'], JSON.stringify(volume));
}

export async function installed(): Promise<void> {
  await ready(SYSTEM, 'sidelock-manager', 'sidelock-webhook');
}
