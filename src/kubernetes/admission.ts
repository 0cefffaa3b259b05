import { SidelockError } from '../base/errors.ts';
import type { InjectSettings } from './container.ts';
import { type Injection, inject } from './inject.ts';
import { jsonPatch } from './json-patch.ts';
import { isObject, type Json, objects, textOf } from './names.ts';
import type { RefusalReason } from './refusal.ts';
import { takeOut } from './uninject.ts';

/** What becomes of one review. */
interface Admission {
  readonly answer: Json;
  readonly result: 'injected' | 'skipped' | 'refused';
  readonly reason: RefusalReason | 'disabled' | 'not-asked' | 'no-pod' | 'none';
  /** `Pod/orders-` in namespace `shop` */
  readonly of: string;
  /** Who is to be told why there is no sidecar; nobody for a dry run. */
  readonly event?: InjectionEvent | undefined;
}

export interface InjectionEvent {
  readonly namespace: string;
  /** The owner of the pod. */
  readonly owner: { readonly apiVersion: string; readonly kind: string; readonly name: string; readonly uid: string };
  readonly reason: string;
  readonly message: string;
}

/**
 * Answers an AdmissionReview (admission.k8s.io/v1). The pod is always let in: with a patch that adds the sidecar, or
 * with a warning that says why there is none. @throws SL-HOOK-001 for what is no such review
 */
export function admit(text: string, settings: InjectSettings | undefined): Admission {
  const { uid, kind, operation, object, namespace, dryRun } = readReview(text);
  if (kind !== 'v1/Pod' || operation !== 'CREATE' || !isObject(object)) {
    return { answer: allow(uid, {}), result: 'skipped', reason: 'no-pod', of: kind };
  }
  const { metadata } = object;
  const of = `${namespace}/${textOf(metadata, 'name') || textOf(metadata, 'generateName')}`;
  const injection = settings === undefined ? notYet(object) : inject(object, settings, namespace);
  if (injection.outcome === 'skipped') {
    return { answer: allow(uid, {}), result: 'skipped', reason: injection.reason, of };
  }
  if (injection.outcome === 'injected') {
    const patch = jsonPatch(object, injection.pod);
    return { answer: allow(uid, { patch }), result: 'injected', reason: 'none', of };
  }
  const { reason, why, fix } = injection;
  const message = `no sidecar (${reason}): ${why}; ${fix}`;
  // Another mesh may have come between our first answer and this one.
  const patch = reason === 'other-mesh' ? jsonPatch(object, takeOut(object)) : [];
  const [owner] = isObject(metadata) ? objects(metadata['ownerReferences']) : [];
  const event = {
    namespace,
    owner: {
      apiVersion: textOf(owner, 'apiVersion'),
      kind: textOf(owner, 'kind'),
      name: textOf(owner, 'name'),
      uid: textOf(owner, 'uid'),
    },
    reason: 'InjectionRefused',
    message,
  };
  return {
    answer: allow(uid, { patch, warning: `sidelock: ${message}` }),
    result: 'refused',
    reason,
    of,
    event: owner === undefined || dryRun ? undefined : event,
  };
}

function notYet(pod: Json): Injection {
  const why = 'the root of the manager is not known yet';
  return { outcome: 'refused', pod, reason: 'no-trust', why, fix: 'restart the pod once sidelock-webhook is ready' };
}

const VERSION = 'admission.k8s.io/v1';
/** The API server cuts what is longer. */
const MAX_WARNING = 250;

function allow(uid: string, { patch = [], warning }: { patch?: readonly object[]; warning?: string }): Json {
  const patched = { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') };
  return {
    apiVersion: VERSION,
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed: true,
      ...(patch.length === 0 ? {} : patched),
      ...(warning === undefined ? {} : { warnings: [warning.slice(0, MAX_WARNING)] }),
    },
  };
}

function readReview(text: string) {
  let review: unknown;
  try {
    review = JSON.parse(text);
  } catch {
    throw noReview('it is not JSON');
  }
  const version = `${textOf(review, 'apiVersion')} ${textOf(review, 'kind')}`;
  if (version !== `${VERSION} AdmissionReview`) throw noReview(`it is ${JSON.stringify(version.slice(0, 80))}`);
  const request = isObject(review) ? review['request'] : undefined;
  const uid = textOf(request, 'uid');
  if (!isObject(request) || uid === '') throw noReview('it has no request with a uid');
  const { kind, object, dryRun } = request;
  const group = textOf(kind, 'group');
  return {
    uid,
    object,
    dryRun: dryRun === true,
    kind: `${group === '' ? '' : `${group}/`}${textOf(kind, 'version')}/${textOf(kind, 'kind')}`,
    operation: textOf(request, 'operation'),
    namespace: textOf(request, 'namespace'),
  };
}

function noReview(why: string): SidelockError {
  return new SidelockError('SL-HOOK-001', `not an AdmissionReview of ${VERSION}`, { why, data: { status: 400 } });
}
