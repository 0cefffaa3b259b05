/** Major and minor. Earlier ones tell a TLS client the chain of its peer once, or only the leaf of it (seen up to 26.8.2). */
const OLDEST = [26, 9] as const;

/** A sentence when nobody could be judged rightly on this version of Node; undefined from the oldest on that will do. */
export function nodeTooOld(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined;
  return `sidelock needs Node ${OLDEST.join('.')} or newer; this is ${version}`;
}
