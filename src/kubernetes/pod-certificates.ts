import { type Clock, HOUR, MINUTE, SECOND } from '../base/clock.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { backoffDelay } from '../base/retry.ts';
import type { ProvenPod } from '../manager/pods.ts';
import type { KubeApi } from './client.ts';
import { isObject, type Json, objects, SIGNER, textOf } from './names.ts';
import { lookUpPod } from './pod-review.ts';
import { createBell, forEach, repeat } from './repeat.ts';
import { type WatchNeeds, watchObjects } from './watch.ts';

interface SignerOptions {
  readonly api: Pick<KubeApi, 'get' | 'replace' | 'watch'>;
  readonly watch: WatchNeeds;
  /** Issues for the key of the request, or throws a SidelockError. */
  readonly certify: (request: {
    readonly pod: ProvenPod;
    readonly csr: Buffer;
    readonly validityMs: number;
  }) => Promise<{ readonly pem: string; readonly notBefore: number; readonly notAfter: number }>;
  /** Of the certificates. Milliseconds; kubelet takes none that ends within an hour, and renews it as if it did. */
  readonly validityMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Answers the PodCertificateRequests (certificates.k8s.io/v1) to our signer: kubelet asks for a pod, the API server has
 * checked that it may, and the pod must be there and run under that account. A request is issued or denied once, and says
 * why; one that cannot be answered now is tried again. Resolves when the signal aborts.
 */
export async function signPodCertificates(options: SignerOptions): Promise<void> {
  const { watch, clock, log, signal } = options;
  const bell = createBell();
  const { known, ended } = watchObjects(
    { resource: 'podcertificaterequests', path: ALL, fieldSelector: `spec.signerName=${SIGNER}` },
    { ...options, ...watch, onChange: bell.ring },
  );
  const requests = new Map<string, Progress>();
  /** What failed is tried again all at once, and what is new does not wait for it. */
  const held = new Set<string>();
  let retryAt = 0;
  let failures = 0;
  const advance = async (request: Json) => {
    const progress = requests.get(uidOf(request)) ?? {};
    requests.set(uidOf(request), progress);
    held.add(uidOf(request));
    await answer(request, progress, options);
    held.delete(uidOf(request));
  };
  const signing = repeat({
    async work() {
      const there = new Set([...known.values()].map(uidOf));
      for (const uid of requests.keys()) if (!there.has(uid)) requests.delete(uid);
      const wait = retryAt - clock.now();
      // Longer than any wait is only one from before the clock was set back.
      const isRetry = wait <= 0 || wait > RETRY.max;
      if (isRetry) held.clear();
      const isDue = (one: Json) => isOpen(one) && requests.get(uidOf(one))?.putTo !== versionOf(one);
      const due = [...known.values()].filter((one) => !held.has(uidOf(one)) && isDue(one));
      try {
        await forEach(due, AT_ONCE, advance, signal);
      } finally {
        if (held.size === 0) failures = 0;
        else if (isRetry) retryAt = clock.now() + backoffDelay(failures++, RETRY, watch.random);
      }
    },
    // What is open and was answered is told of again when it changes.
    pause: () => (held.size === 0 ? IDLE_MS : Math.min(Math.max(0, retryAt - clock.now()), RETRY.max)),
    holdsBack: () => held.size > 0,
    bell,
    onFailure: ({ code, why, message }) => log.error({ event: 'pod_certificates_failed', code, why }, message),
    ...{ clock, signal },
  });
  await Promise.all([ended, signing]);
}

/** By uid until a request is gone, so that one that is touched meanwhile is not issued for again. */
interface Progress {
  answer?: Answer;
  /** The version that has the answer, or was another's by then. */
  putTo?: string;
}

interface Answer {
  readonly status: Json;
  /** Milliseconds since the epoch, from which on the API server takes it no more. */
  readonly until: number;
}

const API = '/apis/certificates.k8s.io/v1';
const ALL = `${API}/podcertificaterequests`;
const IDLE_MS = MINUTE;
const RETRY = { min: SECOND, max: 30 * SECOND };
const AT_ONCE = 8;
const SHORTEST_MS = HOUR;
/** A certificate begins this long before it is issued, which counts. */
const BACKDATE_MS = 2 * MINUTE;
/** So long after its begin an API server refuses a certificate. */
const TAKEN_MS = 5 * MINUTE;
/** The least between the begin of a certificate and its renewal, and between that and its end. */
const MARGIN_MS = 10 * MINUTE;

function isOpen({ spec, status }: Json): boolean {
  const signer = textOf(spec, 'signerName');
  return signer === SIGNER && objects(isObject(status) ? status['conditions'] : undefined).length === 0;
}

function uidOf({ metadata }: Json): string {
  return textOf(metadata, 'uid');
}

function versionOf({ metadata }: Json): string {
  return textOf(metadata, 'resourceVersion');
}

async function answer(request: Json, progress: Progress, options: SignerOptions): Promise<void> {
  const { metadata } = request;
  const [namespace, name] = [textOf(metadata, 'namespace'), textOf(metadata, 'name')];
  const kept = progress.answer;
  const isGood = kept !== undefined && options.clock.now() < kept.until;
  progress.answer = isGood ? kept : await answerTo(request, { namespace, name }, options);
  const path = `${API}/namespaces/${namespace}/podcertificaterequests/${name}/status`;
  await options.api.replace(path, { ...request, status: progress.answer.status });
  progress.putTo = versionOf(request);
}

async function answerTo(
  request: Json,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  options: SignerOptions,
): Promise<Answer> {
  const { log, clock } = options;
  const spec = isObject(request['spec']) ? request['spec'] : {};
  const now = clock.now();
  const condition = (type: 'Issued' | 'Denied', reason: string, message: string) => [
    { type, status: 'True', reason, message: message.slice(0, 1_000), lastTransitionTime: timestamp(now) },
  ];
  const pod = `${namespace}/${textOf(spec, 'podName')}`;
  try {
    const { pem, notBefore, notAfter } = await issue(spec, namespace, options);
    const due = now + (Math.min(options.validityMs, notAfter - now) * 2) / 3;
    const beginRefreshAt = Math.min(Math.max(due, notBefore + MARGIN_MS), notAfter - MARGIN_MS);
    const status = {
      conditions: condition('Issued', 'Issued', 'issued by sidelock'),
      certificateChain: pem,
      notBefore: timestamp(notBefore),
      notAfter: timestamp(notAfter),
      beginRefreshAt: timestamp(beginRefreshAt),
    };
    return { status, until: notBefore + TAKEN_MS };
  } catch (error) {
    const reason = isSidelockError(error) ? DENIALS.find(([codes]) => codes.test(error.code))?.[1] : undefined;
    if (!isSidelockError(error) || reason === undefined) throw error;
    const message = `${error.message}: ${error.why ?? error.code}`;
    log.warn({ event: 'pod_certificate_denied', pod, request: name, reason, code: error.code }, message);
    return { status: { conditions: condition('Denied', reason, message) }, until: Number.POSITIVE_INFINITY };
  }
}

/** What asking again would not change. */
const DENIALS: ReadonlyArray<readonly [RegExp, string]> = [
  [/^SL-KEY-/, 'UnsupportedKeyType'],
  [/^SL-CSR-003$/, 'KeyOfSomebodyElse'],
  [/^SL-CSR-/, 'InvalidRequest'],
  [/^SL-POD-/, 'PodNotAsClaimed'],
  [/^SL-NAME-/, 'InvalidName'],
  [/^SL-API-/, 'InvalidUnverifiedUserAnnotations'],
];

async function issue(spec: Json, namespace: string, { api, certify, validityMs, signal }: SignerOptions) {
  const annotations = Object.keys(isObject(spec['unverifiedUserAnnotations']) ? spec['unverifiedUserAnnotations'] : {});
  if (annotations.length > 0) {
    const why = `nothing is known of ${annotations.join(', ').slice(0, 200)}`;
    throw new SidelockError('SL-API-001', 'userAnnotations mean nothing to this signer', { why });
  }
  const claim = { namespace, name: textOf(spec, 'podName'), uid: textOf(spec, 'podUID') };
  const { proven } = await lookUpPod(api, { ...claim, serviceAccount: textOf(spec, 'serviceAccountName') });
  signal.throwIfAborted();
  const most = Number(spec['maxExpirationSeconds']) * SECOND - BACKDATE_MS;
  return await certify({
    pod: proven,
    csr: Buffer.from(textOf(spec, 'stubPKCS10Request'), 'base64'),
    validityMs: Math.min(Math.max(validityMs, SHORTEST_MS), Math.max(most, SHORTEST_MS)),
  });
}

function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
