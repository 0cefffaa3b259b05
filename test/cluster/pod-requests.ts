import type { KeyObject } from 'node:crypto';
import { createCsr } from '../../src/pki/csr.ts';
import { pemBlocks } from '../../src/pki/pem.ts';
import { until } from '../support/until.ts';
import { type ApiServer, KUBELET } from './api-server.ts';

const SIGNER = 'certificate.ai-teddy.com/identity';
export const REQUESTS = '/apis/certificates.k8s.io/v1/namespaces/shop/podcertificaterequests';

export const TRUST_BUNDLE = '/apis/certificates.k8s.io/v1/clustertrustbundles/certificate.ai-teddy.com:identity:bundle';

interface Status {
  readonly conditions?: ReadonlyArray<{ readonly type: string; readonly reason: string; readonly message: string }>;
  readonly certificateChain?: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
  readonly beginRefreshAt?: string;
}

/** Namespace `shop` with ServiceAccount, Service and a pod of `orders` that wants a pod certificate; gives its UID. */
export async function makeShop(api: ApiServer): Promise<string> {
  await api.must('POST', '/api/v1/namespaces', { metadata: { name: 'shop' } });
  await api.must('POST', '/api/v1/namespaces/shop/serviceaccounts', { metadata: { name: 'orders' } });
  const selector = { selector: { app: 'orders' }, ports: [{ port: 80 }] };
  await api.must('POST', '/api/v1/namespaces/shop/services', { metadata: { name: 'orders' }, spec: selector });
  return await makePod(api, 'orders-1');
}

/** Without a kubelet it stays pending. */
async function makePod(api: ApiServer, name: string): Promise<string> {
  const podCertificate = { signerName: SIGNER, keyType: 'ECDSAP256', credentialBundlePath: 'credentials.pem' };
  const spec = {
    nodeName: 'n1',
    serviceAccountName: 'orders',
    containers: [{ name: 'app', image: 'app:1' }],
    volumes: [{ name: 'identity', projected: { sources: [{ podCertificate }] } }],
  };
  const metadata = { name, labels: { app: 'orders' } };
  return uidIn(await api.must('POST', '/api/v1/namespaces/shop/pods', { metadata, spec }));
}

/** With nothing in it but the key, as kubelet makes it. DER. */
export function requestOf(key: KeyObject): Buffer {
  const [block] = pemBlocks(createCsr(key, 'ignored'), 'request');
  return block?.der ?? Buffer.alloc(0);
}

/** As kubelet asks, unless `more` says otherwise: then the administrator does, who is believed. */
export async function askForPod(api: ApiServer, name: string, csr: Buffer, podUID: string, more?: object) {
  const spec = {
    signerName: SIGNER,
    podName: 'orders-1',
    podUID,
    serviceAccountName: 'orders',
    serviceAccountUID: uidIn(await api.must('GET', '/api/v1/namespaces/shop/serviceaccounts/orders')),
    nodeName: 'n1',
    nodeUID: uidIn(await api.must('GET', '/api/v1/nodes/n1')),
    maxExpirationSeconds: 86_400,
    stubPKCS10Request: csr.toString('base64'),
    ...more,
  };
  await api.must('POST', REQUESTS, { metadata: { name }, spec }, more === undefined ? { token: KUBELET } : {});
}

/** What became of a request. */
export async function answered(api: ApiServer, name: string): Promise<Status> {
  let status: Status | undefined;
  await until(
    async () => {
      ({ status } = (await api.must('GET', `${REQUESTS}/${name}`)) as { readonly status?: Status });
      return status?.conditions !== undefined;
    },
    { every: 50 },
  );
  return status ?? {};
}

function uidIn(object: Readonly<Record<string, unknown>>): string {
  return (object['metadata'] as { readonly uid: string }).uid;
}
