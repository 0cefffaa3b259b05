import type { Socket } from 'node:net';

/** PostgreSQL's SSLRequest and GSSENCRequest: a length of 8 and a code (its protocol 3.0, section 55.7). */
const QUESTIONS = [80_877_103, 80_877_104].map((code) => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(8, 0);
  bytes.writeUInt32BE(code, 4);
  return bytes;
});
const LENGTH = 8;
/** A client asks once for each. */
const MAX_QUESTIONS = QUESTIONS.length;

/**
 * Answers a PostgreSQL client that asks for encryption with "no", since to its sidecar none is needed; what comes next is
 * left on the socket. Calls `done` once, with false when the client left before it said anything else; after `timeoutMs`
 * whatever is there is taken as it is.
 */
export function answerSslRequest(socket: Socket, timeoutMs: number, done: (alive: boolean) => void): void {
  let questions = 0;
  let kept: Buffer = Buffer.alloc(0);
  const settle = (alive: boolean) => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('end', left);
    socket.off('close', left);
    if (alive && kept.length > 0) socket.unshift(kept);
    done(alive);
  };
  const look = () => {
    for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
      kept = Buffer.concat([kept, chunk]);
    }
    while (questions < MAX_QUESTIONS && kept.length >= LENGTH && mayBeQuestion(kept)) {
      questions++;
      kept = kept.subarray(LENGTH);
      socket.write('N');
    }
    if (kept.length > 0 && (questions >= MAX_QUESTIONS || !mayBeQuestion(kept))) settle(true);
  };
  const left = () => settle(false);
  const timer = setTimeout(() => settle(true), timeoutMs);
  socket.on('readable', look);
  socket.once('end', left);
  socket.once('close', left);
}

/** Whether the bytes begin with a question, or are the beginning of one. */
function mayBeQuestion(bytes: Buffer): boolean {
  const start = bytes.subarray(0, LENGTH);
  return QUESTIONS.some((question) => question.subarray(0, start.length).equals(start));
}
