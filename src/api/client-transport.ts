import { Client } from 'undici';
import { ERROR_PAGES, type ErrorCode, isSidelockError, nodeCode, SidelockError } from '../base/errors.ts';
import { describeIssues, errorAnswer, type Schema } from './wire.ts';

/** More than any answer of a manager to a sidecar takes, but for news. */
export const MAX_ANSWER = 5 << 18;

/** How to reach one manager. */
export interface Transport {
  /** Names the manager in messages: an https address, or the path of a socket. */
  readonly where: string;
  /** For one whole exchange: connect, handshake, answer. Milliseconds. */
  readonly timeoutMs: number;
  /** Bytes of a whole answer; 1.25 MiB unless given. */
  readonly maxAnswer?: number;
  /** Ends a call early, with an AbortError. */
  readonly signal?: AbortSignal | undefined;
  /** A client for one exchange, gone after it: calls are rare and each uses the identity of its moment. */
  connect(signal: AbortSignal): Client;
}

interface Call {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: object;
}

/**
 * One call and its checked answer.
 * @throws SidelockError SL-MGR-001 not reachable, SL-MGR-002 unusable answer, or the code that the manager
 * gave (SL-MGR-003 when this version does not know it). After a 429 `data.retryAfterMs` says how long to wait.
 */
export async function exchange<T>(transport: Transport, call: Call, schema: Schema<T>): Promise<T> {
  const timeout = AbortSignal.timeout(transport.timeoutMs);
  const signal = transport.signal === undefined ? timeout : AbortSignal.any([transport.signal, timeout]);
  const client = transport.connect(signal);
  try {
    const answer = await client.request({
      method: call.method,
      path: call.path,
      signal,
      headers: call.body === undefined ? {} : { 'content-type': 'application/json' },
      body: call.body === undefined ? null : JSON.stringify(call.body),
    });
    const text = await answer.body.text();
    return readAnswer(transport, schema, { status: answer.statusCode, headers: answer.headers, text });
  } catch (error) {
    if (transport.signal?.aborted === true) transport.signal.throwIfAborted();
    throw transportError(transport, error, timeout.aborted);
  } finally {
    await client.destroy();
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

function readAnswer<T>(transport: Transport, schema: Schema<T>, { status, headers, text }: Answer): T {
  const type = String(headers['content-type'] ?? 'no content type');
  const value = type.startsWith('application/json') ? parseJson(text) : undefined;
  if (status < 200 || status > 299) {
    const refusal = errorAnswer.safeParse(value);
    if (refusal.success) throw refusedBy(transport, refusal.data.error, { status, retryAfter: headers['retry-after'] });
  }
  if (status !== 200 || value === undefined) {
    throw unusable(transport, `it answered status ${status} with ${type.slice(0, 80)}, which is not of our API`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw unusable(transport, describeIssues(parsed.error.issues));
  return parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly why?: string | undefined;
  readonly fix: string;
  readonly id: string;
}

function refusedBy(
  transport: Transport,
  { code, message, why, fix, id }: Refusal,
  { status, retryAfter }: { status: number; retryAfter: string | string[] | undefined },
): SidelockError {
  const seconds = Number(retryAfter);
  const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined;
  const data = { manager: transport.where, status, id, retryAfterMs };
  return new SidelockError(isErrorCode(code) ? code : 'SL-MGR-003', message, { why, fix, data });
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_PAGES, code);
}

/** SL-MGR-002: what came back cannot be used. */
export function unusable({ where }: Pick<Transport, 'where'>, why: string, cause?: unknown): SidelockError {
  return new SidelockError('SL-MGR-002', `the manager at ${where} gave an unusable answer`, { why, cause });
}

function transportError(transport: Transport, error: unknown, timedOut: boolean): SidelockError {
  if (isSidelockError(error)) return error;
  const code = nodeCode(error) ?? 'unknown';
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE')
    return unusable(transport, `the answer is larger than ${transport.maxAnswer ?? MAX_ANSWER} bytes`);
  if (code.startsWith('HPE_')) return unusable(transport, `what answers there does not speak HTTP (${code})`, error);
  const why = timedOut
    ? `it did not answer within ${transport.timeoutMs / 1000} s`
    : (NETWORK_REASONS[code] ?? `the connection failed (${code})`);
  return new SidelockError('SL-MGR-001', `the manager is not reachable at ${transport.where}`, {
    why,
    cause: error,
    data: { manager: transport.where, system: timedOut ? 'timeout' : code },
  });
}

const NETWORK_REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its name does not resolve (ENOTFOUND)',
  EAI_AGAIN: 'its name cannot be resolved now: no DNS server answers (EAI_AGAIN)',
  ECONNREFUSED: 'nothing listens there (ECONNREFUSED)',
  ENOENT: 'there is no such socket: no manager runs on this storage (ENOENT)',
  EACCES: 'this user may not open the socket; the manager runs as another one (EACCES)',
  EHOSTUNREACH: 'there is no route to it (EHOSTUNREACH)',
  ENETUNREACH: 'there is no route to it (ENETUNREACH)',
  ETIMEDOUT: 'it does not answer (ETIMEDOUT)',
  ECONNRESET: 'it closed the connection (ECONNRESET)',
  UND_ERR_SOCKET: 'it closed the connection before it had answered',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it answers in plain HTTP, or in something else that is not TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it answers in plain HTTP, or in something else that is not TLS',
  EPROTO: 'it answers in plain HTTP, or in something else that is not TLS',
};

export function openClient(origin: string, options: Client.Options, maxAnswer: number = MAX_ANSWER): Client {
  return new Client(origin, { ...options, maxResponseSize: maxAnswer, pipelining: 1 });
}
