import { request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { SECOND } from '../base/clock.ts';
import { isSidelockError, nodeCode, SidelockError } from '../base/errors.ts';
import { isObject, type Json, textOf } from './names.ts';

/** Set on writes. */
export interface WriteOptions {
  /** The API server checks everything and keeps nothing. */
  readonly dryRun?: boolean;
}

/** What became of an object; of a bookmark only the version counts. */
export interface WatchEvent {
  readonly type: (typeof TYPES)[number];
  readonly object: Json;
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
  /**
   * The answer to a path with `watch=true`, once the API server has begun it. It goes on until that ends it, or until the
   * signal aborts, whose reason it throws then. What stays unread keeps a connection open.
   */
  watch(path: string, signal: AbortSignal): Promise<AsyncIterable<WatchEvent>>;
}

/** How the package calls a cluster that it makes up, on port 8080 of this machine. */
const NOTHING_FOUND = 'loaded-context';
const MANAGER = 'sidelock';
const TIMEOUT_MS = 10_000;
/** A connection that nobody uses is closed before something on the way forgets it. */
const IDLE_MS = 30 * SECOND;

/**
 * The cluster that `KUBECONFIG`, `~/.kube/config` or the ServiceAccount of this pod leads to. The package for it is
 * loaded here and not before; it reads the kubeconfig and renews credentials, and no more: its Watch keeps to itself what
 * an API server says when it refuses, and its informer stops for good then.
 */
export async function connectKubernetes({ timeoutMs = TIMEOUT_MS } = {}): Promise<KubeApi> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const load = () => {
    try {
      const config = new KubeConfig();
      config.loadFromDefault();
      const server = config.currentContext === NOTHING_FOUND ? undefined : config.getCurrentCluster()?.server;
      if (server !== undefined) return { config, server: server.replace(/\/$/, '') };
    } catch (cause) {
      throw new SidelockError('SL-KUBE-001', 'no kubeconfig leads to a Kubernetes API server', { cause });
    }
    throw new SidelockError('SL-KUBE-001', 'no kubeconfig leads to a Kubernetes API server', {
      why: 'KUBECONFIG is not set or names no context, ~/.kube/config is not there, and this is no pod of a cluster',
      fix: 'export KUBECONFIG=/path/to/kubeconfig; kubectl config use-context NAME chooses among several clusters in it',
    });
  };
  let cluster = load();
  /** That of the package opens a connection for each request. */
  const agent = new Agent({ keepAlive: true, timeout: IDLE_MS });

  /** With what is in the files now, when what was in them is not taken: the package keeps a token for a minute. */
  const send = async (method: string, path: string, { body, type }: Content, signal: AbortSignal) => {
    for (let isFresh = false; ; isFresh = true) {
      const { config, server } = cluster;
      const options: RequestOptions = { method, headers: { accept: JSON_TYPE } };
      await config.applyToHTTPSOptions(options);
      if (config.getCurrentCluster()?.proxyUrl === undefined && server.startsWith('https:')) options.agent = agent;
      const content = body === undefined ? '' : JSON.stringify(body);
      // Node tells the length of no body of a DELETE, which then is no part of the request.
      const length = Buffer.byteLength(content);
      if (length > 0) {
        options.headers = { ...options.headers, 'content-type': type ?? JSON_TYPE, 'content-length': length };
      }
      const response = await begin(`${server}${path}`, { ...options, signal }, content);
      if (response.statusCode !== 401 || isFresh) return response;
      response.resume();
      cluster = load();
    }
  };
  const unreachable = (what: string, cause: unknown) => {
    if (isSidelockError(cause)) return cause;
    const code = nodeCode(cause);
    const why = code === undefined ? undefined : `the system says ${code}`;
    return new SidelockError('SL-KUBE-001', `cannot ${what} at ${cluster.server}`, { why, cause });
  };

  const ask = async (method: string, path: string, { missing, ...content }: Question): Promise<Json | undefined> => {
    const what = `${method} ${path.split('?', 1)[0]}`;
    let answer: Answer;
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      answer = await patiently(async () => await answerIn(await send(method, path, content, signal)), signal);
    } catch (cause) {
      throw unreachable(what, cause);
    }
    const { status } = answer;
    if (missing.includes(status)) return undefined;
    if (status >= 200 && status < 300 && isObject(answer.body)) return answer.body;
    throw refused(what, answer);
  };

  const watch: KubeApi['watch'] = async (path, signal) => {
    const what = `watch ${path.split('?', 1)[0]}`;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new DOMException('it did not begin in time', 'TimeoutError')), timeoutMs);
    const failure = (cause: unknown) => (signal.aborted ? signal.reason : unreachable(what, cause));
    try {
      const response = await send('GET', path, {}, AbortSignal.any([signal, late.signal]));
      if (response.statusCode === 200) return eventsIn(response, what, failure);
      throw refused(what, await answerIn(response));
    } catch (cause) {
      throw failure(cause);
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    watch,
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
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background' };
      if (resourceVersion === undefined) return ask('DELETE', path, { body, missing: [404] });
      return ask('DELETE', path, { body: { ...body, preconditions: { resourceVersion } }, missing: [404, 409] });
    },
  };
}

interface Content {
  readonly body?: Json;
  readonly type?: string;
}

interface Question extends Content {
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
    await sleep(Math.min(answer.retryAfterMs, MOST_BUSY_MS), undefined, { signal });
  }
}

const BUSY_TRIES = 3;
const MOST_BUSY_MS = 5 * SECOND;

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly retryAfterMs: number;
}

function begin(url: string, options: RequestOptions, content: string): Promise<IncomingMessage> {
  const request = url.startsWith('http:') ? httpRequest : httpsRequest;
  return new Promise((resolve, reject) => {
    let answered = false;
    const sent = request(url, options, (response) => {
      answered = true;
      resolve(response);
    });
    sent.on('error', (error) => {
      // The API server closed it while nobody used it: there is one more, or another is opened. Should the first have
      // arrived all the same, only a PUT would be answered as if somebody else had been there.
      const again = sent.reusedSocket && !answered && options.method !== 'PUT';
      if (again && nodeCode(error) === 'ECONNRESET') resolve(begin(url, options, content));
      else reject(error);
    });
    sent.end(content);
  });
}

async function answerIn(response: IncomingMessage): Promise<Answer> {
  const content = await text(response);
  const retryAfterMs = (Number(response.headers['retry-after']) || 1) * SECOND;
  return { status: response.statusCode ?? 0, body: parsed(content), retryAfterMs };
}

/** The body is a Status object, which says verb, resource and account. */
function refused(what: string, { status, body, retryAfterMs }: Answer): SidelockError {
  const why = textOf(body, 'message') || `status ${status}`;
  const data = { kubernetes: status, ...(status === 429 ? { retryAfterMs } : {}) };
  return new SidelockError('SL-KUBE-002', `cannot ${what}: ${status}`, { why, data });
}

/** A line each. Half of one at the end was never told, and will be. */
async function* eventsIn(
  response: IncomingMessage,
  what: string,
  failure: (cause: unknown) => unknown,
): AsyncGenerator<WatchEvent> {
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const part of response as AsyncIterable<string>) {
      const lines = (rest + part).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield eventOf(parsed(line), what);
    }
  } catch (cause) {
    throw failure(cause);
  }
}

function eventOf(line: unknown, what: string): WatchEvent {
  const type = TYPES.find((one) => one === textOf(line, 'type'));
  const object = isObject(line) && isObject(line['object']) ? line['object'] : {};
  if (type !== undefined) return { type, object };
  const status = Number(object['code']) || 0;
  throw refused(what, { status, body: object, retryAfterMs: SECOND });
}

const TYPES = ['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK'] as const;

function parsed(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return undefined;
  }
}
