/** Bytes between two looks, a second apart, that carry nothing: about 5,000 records. */
const MAX_NOISE = 128 * 1024;
/** Around one byte of content there are 22 others: an app may do that, and pays for it itself. */
const LEAST_PER_BYTE = 32;

/** Whether a connection was noise since the last look, from the bytes so far: those of TCP, and of content in them. */
export type NoiseMeter = (connection: object, raw: number, content: () => number) => boolean;

/**
 * Tells connections on which TLS records come that carry nothing, as KeyUpdates (threats.md X22): OpenSSL reads many of
 * them in one turn of the loop, and Node tells of none.
 */
export function createNoiseMeter(): NoiseMeter {
  const last = new WeakMap<object, { readonly raw: number; readonly content: number }>();
  return (connection, raw, content) => {
    const seen = last.get(connection);
    if (raw === seen?.raw) return false;
    const now = { raw, content: content() };
    last.set(connection, now);
    if (seen === undefined) return false;
    const useful = now.content - seen.content;
    const noise = raw - seen.raw - useful;
    return noise > MAX_NOISE && useful * LEAST_PER_BYTE < noise;
  };
}
