import { createLogger, type Logger } from '../../src/base/log.ts';
import type { IdentityMaterial } from '../../src/pki/material.ts';

interface FakeOptions {
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly roots?: string;
}

/** As much of an identity as what only passes it on looks at. */
export function fakeMaterial(serial: string, { notBefore = 0, notAfter = 1, roots = 'r1' }: FakeOptions = {}) {
  return {
    leaf: { fingerprint256: serial, serial, notBefore, notAfter },
    chain: [],
    bundle: { sha256: roots, keyIds: ['k1'], roots: [{}] },
    spiffeId: { uri: 'spiffe://td/ns/default/sa/orders' },
  } as unknown as IdentityMaterial;
}

export interface LogLine {
  readonly event?: string;
  readonly [field: string]: unknown;
}

/** A logger whose lines a test can read. */
export function recordingLog(): { readonly log: Logger; readonly lines: LogLine[]; events(name: string): LogLine[] } {
  const lines: LogLine[] = [];
  const log = createLogger({ level: 'debug', stream: { write: (line: string) => lines.push(JSON.parse(line)) } });
  return { log, lines, events: (name) => lines.filter(({ event }) => event === name) };
}
