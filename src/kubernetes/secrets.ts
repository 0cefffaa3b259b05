import { isDeepStrictEqual } from 'node:util';
import { SidelockError } from '../base/errors.ts';
import type { WriteOptions } from './client.ts';
import { MANAGED_BY, secretName } from './names.ts';
import type { Secret, SecretClient } from './secret-client.ts';

interface Certificate {
  readonly service: string;
  readonly namespace: string;
  /** Leaf and intermediates, key, roots: PEM. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

interface Deployed {
  readonly name: string;
  readonly outcome: 'created' | 'updated' | 'unchanged';
}

/**
 * Keeps the certificate of a service as Secret `<service>-mtls-certs` of type kubernetes.io/tls. Running it again
 * changes nothing; two that run at once end with one of both. A Secret without our label is never written to.
 * @throws SL-KUBE-001, SL-KUBE-002, SL-KUBE-003
 */
export async function deployCertificateAsSecret(
  client: SecretClient,
  certificate: Certificate,
  options: WriteOptions,
): Promise<Deployed> {
  const wanted = secretOf(certificate);
  const { namespace, name } = wanted;
  for (let tries = 0; tries < 5; tries++) {
    const found = await client.read(namespace, name);
    if (found === undefined) {
      if (await client.create(wanted, options)) return { name, outcome: 'created' };
      continue;
    }
    checkOwner(found);
    if (isDeepStrictEqual(found.data, wanted.data)) return { name, outcome: 'unchanged' };
    const labels = { ...found.labels, ...wanted.labels };
    const { resourceVersion } = found;
    if (await client.replace({ ...wanted, labels, resourceVersion }, options)) return { name, outcome: 'updated' };
  }
  throw new SidelockError('SL-KUBE-002', `cannot write Secret ${namespace}/${name}: somebody else keeps changing it`);
}

const TYPE = 'kubernetes.io/tls';

function secretOf({ service, namespace, cert, key, ca }: Certificate): Secret {
  return {
    namespace,
    name: secretName(service),
    type: TYPE,
    labels: { [MANAGED_BY.label]: MANAGED_BY.value },
    data: { 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca },
  };
}

function checkOwner({ namespace, name, labels, type }: Secret): void {
  const owner = labels[MANAGED_BY.label];
  if (owner === MANAGED_BY.value && type === TYPE) return;
  const why =
    owner === MANAGED_BY.value
      ? `its type is ${type}, which cannot be changed`
      : `its label ${MANAGED_BY.label} is ${owner ?? 'not there'}`;
  throw new SidelockError('SL-KUBE-003', `will not write to Secret ${namespace}/${name}`, { why });
}
