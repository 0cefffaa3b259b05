import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { SECOND } from '../base/clock.ts';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { isObject, type Json, textOf } from './names.ts';

/** Set on writes. */
export interface WriteOptions {
  /** The API server checks everything and keeps nothing. */
  readonly dryRun?: boolean;
}

/** The API of one cluster: objects by path, as they stand in a manifest. @throws SL-KUBE-001, SL-KUBE-002 */
export interface KubeApi {
  /** Undefined where there is none. */
  get(path: string): Promise<Json | undefined>;
  /** Undefined when one of that name was made meanwhile. */
  create(path: string, object: Json, options?: WriteOptions): Promise<Json | undefined>;
  /** Undefined when it was changed since the version in the object was read, or is gone. */
  replace(path: string, object: Json, options?: WriteOptions): Promise<Json | undefined>;
  /**
   * Server-side apply: only the fields in the object. A field that somebody else has is an error, or with `force` taken.
   * Undefined where there is nothing of that kind.
   */
  apply(path: string, object: Json, options?: WriteOptions & { readonly force?: boolean }): Promise<Json | undefined>;
  /** What depends on it goes after it. Undefined where there is none, or when `version` is given and it is of another. */
  remove(path: string, version?: string): Promise<Json | undefined>;
}

const MANAGER = 'sidelock';
const TIMEOUT_MS = 10_000;

/**
 * The cluster that `KUBECONFIG`, `~/.kube/config` or the ServiceAccount of this pod leads to. The package for it is
 * loaded here and not before; it reads the kubeconfig and renews credentials, and no more.
 */
export async function connectKubernetes({ timeoutMs = TIMEOUT_MS } = {}): Promise<KubeApi> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  const server = ((): string => {
    try {
      config.loadFromDefault();
      const found = config.getCurrentCluster()?.server;
      if (found !== undefined) return found.replace(/\/$/, '');
    } catch (cause) {
      throw new SidelockError('SL-KUBE-001', 'no kubeconfig leads to a Kubernetes API server', { cause });
    }
    throw new SidelockError('SL-KUBE-001', 'no kubeconfig leads to a Kubernetes API server');
  })();

  const ask = async (
    method: string,
    path: string,
    { body, type = JSON_TYPE, missing }: Question,
  ): Promise<Json | undefined> => {
    const what = `${method} ${path.split('?', 1)[0]}`;
    const options: RequestOptions = { method, headers: { accept: JSON_TYPE } };
    let answer: Answer;
    try {
      await config.applyToHTTPSOptions(options);
      if (body !== undefined) options.headers = { ...options.headers, 'content-type': type };
      const signal = AbortSignal.timeout(timeoutMs);
      answer = await patiently(() => exchange(`${server}${path}`, { ...options, signal }, body), signal);
    } catch (cause) {
      const code = nodeCode(cause);
      const why = code === undefined ? undefined : `the system says ${code}`;
      throw new SidelockError('SL-KUBE-001', `cannot ${what} at ${server}`, { why, cause });
    }
    const { status } = answer;
    if (missing.includes(status)) return undefined;
    if (status >= 200 && status < 300 && isObject(answer.body)) return answer.body;
    // The body is a Status object, which says verb, resource and account.
    const why = textOf(answer.body, 'message') || `status ${status}`;
    throw new SidelockError('SL-KUBE-002', `cannot ${what}: ${status}`, { why, data: { kubernetes: status } });
  };

  return {
    get: (path) => ask('GET', path, { missing: [404] }),
    create: (path, body, options) => ask('POST', query(path, options), { body, missing: [409] }),
    replace: (path, body, options) => ask('PUT', query(path, options), { body, missing: [404, 409] }),
    apply: (path, body, options) =>
      ask('PATCH', query(path, options, { force: String(options?.force ?? false) }), {
        body,
        type: APPLY_TYPE,
        missing: [404],
      }),
    remove(path, resourceVersion) {
      const at = `${path}?propagationPolicy=Background`;
      if (resourceVersion === undefined) return ask('DELETE', at, { missing: [404] });
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { resourceVersion } };
      return ask('DELETE', at, { body, missing: [404, 409] });
    },
  };
}

interface Question {
  readonly body?: Json;
  readonly type?: string;
  /** Statuses that answer undefined. */
  readonly missing: readonly number[];
}

const JSON_TYPE = 'application/json';
const APPLY_TYPE = 'application/apply-patch+yaml';

function query(path: string, { dryRun = false }: WriteOptions = {}, more: Record<string, string> = {}): string {
  const strict = { fieldManager: MANAGER, fieldValidation: 'Strict', ...more };
  return `${path}?${new URLSearchParams({ ...strict, ...(dryRun ? { dryRun: 'All' } : {}) })}`;
}

/** Again where the API server says that it is busy, and when to come back: that is nothing to tell anybody. */
async function patiently(ask: () => Promise<Answer>, signal: AbortSignal): Promise<Answer> {
  for (let tries = 0; ; tries++) {
    const answer = await ask();
    if (answer.status !== 429 || tries === BUSY_TRIES) return answer;
    await setTimeout(Math.min(answer.retryAfterMs, MOST_BUSY_MS), undefined, { signal });
  }
}

const BUSY_TRIES = 3;
const MOST_BUSY_MS = 5 * SECOND;

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly retryAfterMs: number;
}

async function exchange(url: string, options: RequestOptions, body: Json | undefined): Promise<Answer> {
  const request = url.startsWith('http:') ? httpRequest : httpsRequest;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request(url, options, resolve);
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
  const content = await text(response);
  const retryAfterMs = (Number(response.headers['retry-after']) || 1) * SECOND;
  return { status: response.statusCode ?? 0, body: parsed(content), retryAfterMs };
}

function parsed(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return undefined;
  }
}
