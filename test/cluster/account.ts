import { writeFileSync } from 'node:fs';
import { kubectl } from './kubectl.ts';
import { API_PORT, path } from './state.ts';

/** Writes a kubeconfig for a ServiceAccount, which has no rights but those it was given. */
export async function accountKubeconfig(namespace: string, name: string, file: string): Promise<string> {
  const token = (await kubectl(['-n', namespace, 'create', 'token', name])).trim();
  const cluster = { server: `https://127.0.0.1:${API_PORT}`, 'certificate-authority': path('ca.crt') };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { token } }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'c',
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}
