import { SidelockError } from '../base/errors.ts';

/** One encapsulated block of RFC 7468. */
export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
  /** Of its BEGIN line, from 1. */
  readonly line: number;
}

/** Far above any trust bundle; all public CAs of a browser take a quarter of it. */
const MAX_PEM = 1024 * 1024;
const BEGIN = /^-----BEGIN ([A-Z0-9]{1,20}(?: [A-Z0-9]{1,20}){0,3})-----$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * The blocks of a PEM file in order. Text between blocks is allowed (RFC 7468 5.2), headers and anything else that is
 * not base64 inside one are not. Takes time linear in the length. Messages name `file` and line, never the content.
 * @throws SL-PEM-001 without any block, SL-PEM-003 when the text ends inside one, SL-PEM-004 when one is damaged
 */
export function pemBlocks(text: string | Buffer, file: string, maxLength: number = MAX_PEM): PemBlock[] {
  if (text.length > maxLength) {
    const why = `it has ${text.length} bytes; ${maxLength} are the limit`;
    throw new SidelockError('SL-PEM-004', `${file} is too large for a PEM file`, { why, data: { file } });
  }
  const blocks: PemBlock[] = [];
  let open: { label: string; line: number; body: string[] } | undefined;
  const lines = text.toString('latin1').trimEnd().split('\n');
  for (const [i, untrimmed] of lines.entries()) {
    const line = untrimmed.trimEnd();
    const at = { file, line: i + 1 };
    if (open === undefined) {
      open = begin(line, at);
    } else if (line === `-----END ${open.label}-----`) {
      blocks.push({ label: open.label, der: decode(open.body, { file, line: open.line }), line: open.line });
      open = undefined;
    } else if (i === lines.length - 1 && `-----END ${open.label}-----`.startsWith(line)) {
      break;
    } else if (line.startsWith('-----')) {
      throw damaged(at, `the ${open.label} block that begins at line ${open.line} has no END line before it`);
    } else {
      if (!BASE64.test(line)) throw damaged(at, whyNoBase64(line, open.label));
      open.body.push(line);
    }
  }
  if (open !== undefined) throw cutShort(file, lines.length, open);
  if (blocks.length === 0) throw notPem(text, file);
  return blocks;
}

/** A block with lines of 64 characters, ended by a newline. */
export function pemEncode(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/** Certificates as files and wire have them: one block after the other, in this order. */
export function certificatesToPem(certificates: ReadonlyArray<{ readonly der: Buffer }>): string {
  return certificates.map(({ der }) => pemEncode('CERTIFICATE', der)).join('');
}

interface Place {
  readonly file: string;
  readonly line: number;
}

function begin(line: string, at: Place): { label: string; line: number; body: string[] } | undefined {
  const label = BEGIN.exec(line)?.[1];
  if (label !== undefined) return { label, line: at.line, body: [] };
  if (line.includes('-----BEGIN')) throw damaged(at, 'the BEGIN line holds other characters too');
  if (line.startsWith('-----END')) throw damaged(at, 'an END line has no BEGIN line before it');
  return undefined;
}

function decode(body: readonly string[], at: Place): Buffer {
  const text = body.join('');
  const der = Buffer.from(text, 'base64');
  // Node skips what it does not know and stops at padding: only what encodes to the same text was base64.
  if (der.length === 0 || der.toString('base64') !== text) throw damaged(at, 'the base64 text of the block is damaged');
  return der;
}

function whyNoBase64(line: string, label: string): string {
  if (line === '') return `the ${label} block holds an empty line`;
  if (/^[A-Za-z-]+:/.test(line)) return `the ${label} block has headers (an old form of encryption)`;
  return `a line of the ${label} block is not base64`;
}

function damaged({ file, line }: Place, why: string): SidelockError {
  return new SidelockError('SL-PEM-004', `line ${line} of ${file} is damaged`, { why, data: { file, line } });
}

function cutShort(file: string, lastLine: number, { label, line }: { label: string; line: number }): SidelockError {
  const why = `it ends at line ${lastLine} inside the ${label} block of line ${line} (no END line)`;
  return new SidelockError('SL-PEM-003', `${file} is cut short`, { why, data: { file, line: lastLine } });
}

function notPem(text: string | Buffer, file: string): SidelockError {
  const first = typeof text === 'string' ? text.charCodeAt(0) : text[0];
  const why =
    text.toString('latin1').trim() === ''
      ? 'it is empty'
      : first === 0x30
        ? 'it looks like DER, and holds no BEGIN line'
        : 'it holds no BEGIN line';
  return new SidelockError('SL-PEM-001', `${file} is not a PEM file`, { why, data: { file } });
}
