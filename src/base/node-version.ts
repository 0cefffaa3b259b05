/**
 * Major and minor. Up to 26.8 Node tells a TLS client the chain of its peer once, or only the leaf of it; up to 26.9 it ends
 * TLS connections without close_notify, so that a peer cannot tell an end from a cut (RFC 8446 6.1).
 */
const OLDEST = [26, 10] as const;

/** A sentence when this version of Node will not do; undefined from the oldest on that will do. */
export function nodeTooOld(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined;
  return `sidelock needs Node ${OLDEST.join('.')} or newer; this is ${version}`;
}
