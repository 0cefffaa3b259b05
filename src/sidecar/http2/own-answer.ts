import { constants, type ServerHttp2Stream } from 'node:http2';
import type { OwnAnswer } from '../http1/failures.ts';

/** Answers in place of the other side, in the way of gRPC where that is spoken, and lets the rest of the request go. */
export function answer(stream: ServerHttp2Stream, { status, reason, code, sentence }: OwnAnswer, grpc: boolean): void {
  if (stream.destroyed || stream.closed) return;
  const ours = ['x-sidelock-reason', reason, 'x-sidelock-code', code];
  if (grpc) {
    // RFC 9113 knows no status of gRPC: it is a field, and the answer a 200 without a body.
    const fields = ['grpc-status', String(grpcStatus(status)), 'grpc-message', `${code}: ${sentence}`];
    stream.respond([':status', '200', 'content-type', 'application/grpc', ...fields, ...ours], { endStream: true });
  } else {
    const body = `${code}: ${sentence}\n`;
    const fields = ['content-type', 'text/plain', 'content-length', String(body.length)];
    stream.respond([':status', String(status), ...fields, ...ours]);
    // Node ended the answer to a HEAD by itself.
    if (!stream.writableEnded) stream.end(body);
  }
  stopRequest(stream);
}

/** The response is whole: what still comes of the request is thrown away, and its sender told to stop (RFC 9113 8.1). */
export function stopRequest(stream: ServerHttp2Stream): void {
  if (stream.destroyed) return;
  stream.resume();
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}

/** As gRPC reads the statuses of HTTP; those that only we give are told better. */
function grpcStatus(status: number): number {
  switch (status) {
    case 403:
      return 7;
    case 431:
      return 8;
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return 13;
  }
}
