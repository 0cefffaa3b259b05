import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { API_PORT, NODE_IP, path } from './state.ts';

/** Who connects to the API server, and the subject that gives its rights. */
const CLIENTS: Readonly<Record<string, string>> = {
  admin: '/O=system:masters/CN=admin',
  'controller-manager': '/CN=system:kube-controller-manager',
  scheduler: '/CN=system:kube-scheduler',
  kubelet: '/O=system:nodes/CN=system:node:n1',
  'kube-proxy': '/CN=system:kube-proxy',
};

/** A CA, a serving certificate, the keys of service accounts, and a kubeconfig for each client. */
export function makeCertificates(): void {
  openssl(['genrsa', '-out', path('sa.key'), '2048']);
  openssl(['rsa', '-in', path('sa.key'), '-pubout', '-out', path('sa.pub')]);
  const ca = ['-subj', '/CN=cluster-ca', '-days', '2', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
  openssl(['req', '-x509', ...KEY, '-keyout', path('ca.key'), '-out', path('ca.crt'), ...ca]);
  const names = `DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.0.0.1,IP:${NODE_IP}`;
  issue('serving', '/CN=kube-apiserver', ['-addext', `subjectAltName=${names}`]);
  for (const [name, subject] of Object.entries(CLIENTS)) {
    issue(name, subject, []);
    writeFileSync(path(`${name}.kubeconfig`), kubeconfig(name), { mode: 0o600 });
  }
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

function issue(name: string, subject: string, extra: readonly string[]): void {
  const files = ['-keyout', path(`${name}.key`), '-out', path(`${name}.crt`)];
  const by = ['-CA', path('ca.crt'), '-CAkey', path('ca.key'), '-days', '2'];
  const usage = ['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'extendedKeyUsage=serverAuth,clientAuth'];
  openssl(['req', '-x509', ...KEY, ...files, ...by, '-subj', subject, ...usage, ...extra]);
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function kubeconfig(name: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'c', cluster: { server: `https://127.0.0.1:${API_PORT}`, 'certificate-authority': path('ca.crt') } },
    ],
    users: [{ name, user: { 'client-certificate': path(`${name}.crt`), 'client-key': path(`${name}.key`) } }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: name } }],
    'current-context': 'c',
  });
}
