import { SidelockError } from '../base/errors.ts';
import { checkServiceName, dnsNamesFor, MANAGER_NAMESPACE, parseSan, type San, serviceSpiffeId } from '../pki/names.ts';
import { parseServiceType, type ServiceType } from '../pki/profiles.ts';

/** Whom a certificate is for, decided by who asks, never by what a request says. */
export interface Subject {
  readonly service: string;
  readonly namespace: string;
  readonly type: ServiceType;
  /** Names besides the service's own. */
  readonly additionalSans: readonly string[];
  /** The service's own; those that every service of its name has unless given. */
  readonly dnsNames?: readonly string[];
}

const DEFAULT_NAMESPACE = 'default';
const DEFAULT_TYPE = 'api_service';

interface SubjectRequest {
  readonly service: string;
  readonly namespace?: string | undefined;
  readonly type?: string | undefined;
  readonly additionalSans?: readonly string[] | undefined;
}

/**
 * Checks what an operator asked for. With `allowedSans` each additional name must be one of them, or end in one
 * that begins with a dot.
 * @throws SidelockError SL-NAME-002, SL-NAME-003, SL-NAME-004
 */
export function checkSubject(request: SubjectRequest, allowedSans: readonly string[]): Subject {
  const { service, namespace = DEFAULT_NAMESPACE, type = DEFAULT_TYPE, additionalSans = [] } = request;
  checkServiceName(service);
  checkServiceName(namespace);
  if (namespace === MANAGER_NAMESPACE) {
    throw new SidelockError('SL-NAME-004', `no service may be in namespace ${namespace}`, {
      why: 'it is the namespace of the manager itself',
      fix: 'choose another namespace',
    });
  }
  const names = additionalSans.map((name) => parseSan(name).value);
  const refused = names.filter((name) => !allowed(name, allowedSans));
  if (refused.length > 0) {
    throw new SidelockError('SL-NAME-004', `${service} may not have the name ${refused.join(', ')}`, {
      why: `certificates.allowedSans has: ${allowedSans.join(', ')}`,
    });
  }
  return Object.freeze({ service, namespace, type: parseServiceType(type), additionalSans: names });
}

export function spiffeIdOf(subject: Pick<Subject, 'service' | 'namespace'>, trustDomain: string): string {
  return serviceSpiffeId({ trustDomain, namespace: subject.namespace, service: subject.service });
}

/** Every DNS name and address of the certificate, each once. */
export function sansOf(subject: Subject, trustDomain: string): San[] {
  const { service, namespace } = subject;
  const own = subject.dnsNames ?? dnsNamesFor({ service, namespace, trustDomain });
  return [...new Set([...own, ...subject.additionalSans])].map(parseSan);
}

function allowed(name: string, allowedSans: readonly string[]): boolean {
  if (allowedSans.length === 0) return true;
  return allowedSans.some((entry) => (entry.startsWith('.') ? name.endsWith(entry) : name === entry));
}
