import { type IdentityShown, identityShown, plaintextAnswer, readyAnswer } from '../../api/wire-sidecar.ts';
import { isSidelockError } from '../../base/errors.ts';
import { askAdmin, fetchAdmin } from '../admin.ts';
import type { CertificateFacts } from './certificates.ts';
import type { SidecarFacts } from './sidecar.ts';

/** What the sidecar with this admin address tells, beside what the manager of this machine knows of it. */
export async function sidecarFacts(
  address: string,
  known: CertificateFacts | undefined,
  now: number,
): Promise<SidecarFacts> {
  try {
    const { blockers } = readyAnswer.parse(JSON.parse((await fetchAdmin(address, '/readyz')).body));
    const identity = await identityOf(address);
    const issued = known && {
      certificate: known.certificates.find(({ spiffeId }) => spiffeId === identity?.spiffeId),
      bundle: known.bundle,
    };
    const plaintext = plaintextAnswer.parse(await askAdmin(address, '/plaintext'));
    const metrics = numbersIn((await fetchAdmin(address, '/metrics')).body);
    return { address, blockers, identity, plaintext, metrics, issued, now };
  } catch (error) {
    const silent = isSidelockError(error) ? (error.why ?? error.message) : 'its answers are not those of a sidecar';
    const nothing = { blockers: [], identity: undefined, plaintext: undefined, metrics: new Map(), issued: undefined };
    return { address, silent, ...nothing, now };
  }
}

async function identityOf(address: string): Promise<IdentityShown | undefined> {
  const { status, body } = await fetchAdmin(address, '/identity');
  return status === 200 ? identityShown.parse(JSON.parse(body)) : undefined;
}

/** Series without labels. */
function numbersIn(text: string): ReadonlyMap<string, number> {
  return new Map([...text.matchAll(/^(\w+) (\S+)$/gm)].map(([, name = '', value]) => [name, Number(value)]));
}
