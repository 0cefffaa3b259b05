import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import { standardError } from './log-sink.ts';

export type Logger = PinoLogger;
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

interface LogOptions {
  readonly level: LogLevel;
  /** Where lines go; standard error unless given, whose reader may be stuck without blocking anything. */
  readonly stream?: DestinationStream;
}

const SECRET_FIELDS = ['token', 'passphrase', 'password', 'authorization', 'key', 'keyPem', 'privateKey'];

/**
 * Path redaction alone misses nested and embedded secrets, so each finished line is scrubbed as text too.
 * A key that was cut short ends at the quote that ends its JSON string, so that the line stays JSON.
 */
const SECRET_TEXT =
  /-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"\\]|\\[^"])*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=\\?"|$))|\bslk_[\w.-]{8,}|\bBearer\s+[\w.~+/=-]+/gis;

/** Removes private keys, join tokens and bearer tokens from any text. */
export function scrub(text: string): string {
  return text.replace(SECRET_TEXT, (found) =>
    found.startsWith('slk_') ? `${found.slice(0, 6)}[redacted]` : '[redacted]',
  );
}

/** One JSON line an event on standard error. Fields named like secrets are removed at the top and one level down. */
export function createLogger({ level, stream }: LogOptions): Logger {
  const sink = stream ?? standardError();
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_FIELDS.flatMap((f) => [f, `*.${f}`]), censor: '[redacted]' },
    },
    { write: (line: string) => sink.write(scrub(line)) },
  );
}
