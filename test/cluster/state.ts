import { join } from 'node:path';

/** Short, since sockets live in it (107 bytes), and one, since a machine holds one cluster. */
const STATE = process.env['SIDELOCK_CLUSTER_STATE'] ?? '/tmp/sidelock-cluster';
export const ADMIN_KUBECONFIG = path('admin.kubeconfig');
export const BRIDGE = 'slk0';
export const NODE_IP = '10.244.0.1';
export const API_PORT = 16_443;

/** A file of the cluster's state. */
export function path(...parts: readonly string[]): string {
  return join(STATE, ...parts);
}
/** The control group that holds all pods. */
export const GROUP = 'sidelock-cluster';
