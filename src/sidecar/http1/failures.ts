import { STATUS_CODES } from 'node:http';
import type { ErrorCode } from '../../base/errors.ts';

/** Why a request got no response from where it was meant to go. Closed: response field, log field, metric label. */
export type UpstreamReason =
  | 'unreachable'
  | 'handshake_failed'
  | 'no_identity'
  | 'busy'
  | 'limit'
  | 'closed'
  | 'timeout'
  | 'bad_response';

/** An answer that we give ourselves. */
export interface OwnAnswer {
  readonly status: number;
  readonly reason: string;
  readonly code: ErrorCode;
  /** One sentence without names of peers, files or versions. */
  readonly sentence: string;
}

export interface UpstreamFailure extends OwnAnswer {
  readonly reason: UpstreamReason;
}

export const BUSY_UPSTREAM: UpstreamFailure = {
  status: 503,
  reason: 'busy',
  code: 'SL-LIMIT-002',
  sentence: 'too many requests wait for a connection',
};

export const CROWDED_UPSTREAM: UpstreamFailure = {
  status: 503,
  reason: 'limit',
  code: 'SL-LIMIT-002',
  sentence: 'too many requests are under way',
};

export const CLOSED_UPSTREAM: UpstreamFailure = {
  status: 502,
  reason: 'closed',
  code: 'SL-HTTP-002',
  sentence: 'the connection was closed before a response began',
};

export const BAD_RESPONSE: UpstreamFailure = {
  status: 502,
  reason: 'bad_response',
  code: 'SL-HTTP-002',
  sentence: 'the response broke the rules of HTTP/1.1',
};

export const LATE_RESPONSE: UpstreamFailure = {
  status: 504,
  reason: 'timeout',
  code: 'SL-HTTP-003',
  sentence: 'no response in time',
};

export function answerText(
  { status, reason, code, sentence }: OwnAnswer,
  options: { readonly close: boolean; readonly withoutBody: boolean },
): string {
  const body = `${code}: ${sentence}\n`;
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'content-type: text/plain',
    `content-length: ${body.length}`,
    `x-sidelock-reason: ${reason}`,
    `x-sidelock-code: ${code}`,
    ...(options.close ? ['connection: close'] : []),
    '',
    options.withoutBody ? '' : body,
  ].join('\r\n');
}
