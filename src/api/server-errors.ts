import { randomBytes } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, isSidelockError, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ErrorAnswer } from './wire.ts';

/** Codes that are meant for callers. Any other fault is SL-API-004 to them, and explained in the log only. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  'SL-TOK-001': 401,
  'SL-TOK-002': 401,
  'SL-TOK-003': 401,
  'SL-TOK-004': 403,
  'SL-POD-001': 401,
  'SL-POD-002': 403,
  'SL-POD-003': 404,
  'SL-KUBE-001': 503,
  'SL-KUBE-002': 503,
  'SL-HA-001': 503,
  'SL-CSR-001': 400,
  'SL-CSR-002': 400,
  'SL-CSR-003': 409,
  'SL-KEY-001': 400,
  'SL-NAME-001': 400,
  'SL-NAME-002': 400,
  'SL-NAME-003': 400,
  'SL-NAME-004': 403,
  'SL-PEM-001': 400,
  'SL-PEM-002': 400,
  'SL-PEM-003': 400,
  'SL-PEM-004': 400,
  'SL-CERT-001': 403,
  'SL-STORE-001': 404,
  'SL-CA-003': 503,
  'SL-TRUST-001': 409,
  'SL-TRUST-002': 409,
  'SL-API-001': 400,
  'SL-API-002': 403,
  'SL-API-003': 429,
};

/** What fastify refuses before a route sees it, by the status it gives. */
const REFUSED: Readonly<Record<number, string>> = {
  400: 'the body is not valid JSON',
  413: 'the body is too large',
  415: 'the body must be application/json',
};

/** SL-API-003 with the time to wait. */
export function tooMany(waitMs: number, what: string): SidelockError {
  const retryAfter = Math.max(1, Math.ceil(waitMs / 1000));
  return new SidelockError('SL-API-003', `too many ${what}`, {
    why: `the limit is reached; try again in ${retryAfter} s`,
    data: { retryAfter },
  });
}

/** SL-API-003 as a 503: the manager, not this caller, is at its limit. */
export function busy(waitMs: number): SidelockError {
  const retryAfter = Math.max(1, Math.ceil(waitMs / 1000));
  return new SidelockError('SL-API-003', 'the manager is busy', {
    why: `as many certificates are being signed as it takes on at one time; try again in ${retryAfter} s`,
    data: { retryAfter, status: 503 },
  });
}

/**
 * Turns whatever was thrown into one answer: code, sentence and an id that finds the log line; never a stack.
 * With `showAll` (the unix socket) an operator sees every error of ours, not only those meant for callers.
 */
export function errorHandler(log: Logger, { showAll }: { readonly showAll: boolean }) {
  return (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const id = randomBytes(6).toString('hex');
    const { error, status } = judge(thrown, showAll);
    const fields = { event: 'request_failed', id, method: request.method, route: request.routeOptions.url, status };
    const remote = request.socket.remoteAddress;
    // Who is told to come back is counted by who told it.
    if (status < 500 || error.code === 'SL-API-003') log.debug({ ...fields, remote, code: error.code }, error.message);
    else log.error({ ...fields, remote, err: thrown }, 'a request failed');
    const { retryAfter } = error.data;
    if (typeof retryAfter === 'number') reply.header('retry-after', retryAfter);
    const { code, message, why, fix } = error;
    const answer: ErrorAnswer = { error: { code, message, ...(why === undefined ? {} : { why }), fix, id } };
    void reply.code(status).send(answer);
  };
}

function judge(thrown: unknown, showAll: boolean): { error: SidelockError; status: number } {
  if (isSidelockError(thrown)) {
    const status = typeof thrown.data['status'] === 'number' ? thrown.data['status'] : STATUS[thrown.code];
    if (status !== undefined || showAll) return { error: thrown, status: status ?? 500 };
  }
  const status = frameworkStatus(thrown);
  if (status !== undefined) {
    return { error: new SidelockError('SL-API-001', REFUSED[status] ?? 'the request is not valid'), status };
  }
  return { error: new SidelockError('SL-API-004', 'the manager failed to answer'), status: 500 };
}

function frameworkStatus(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || !('statusCode' in thrown)) return undefined;
  const status = thrown.statusCode;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : undefined;
}

export function notFound(): never {
  throw new SidelockError('SL-API-001', 'there is no such call', { data: { status: 404 } });
}
