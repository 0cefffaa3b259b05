/** A small seeded generator (mulberry32); the same numbers for the same seed, always. */
export function mulberry32(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let x = Math.imul(a ^ (a >>> 15), 1 | a);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One of `seeds` after up to three changes: a byte, a piece put in, a part gone or doubled, another seed behind it. */
export function mutate(random: () => number, seeds: readonly string[], pieces: readonly string[]): string {
  const pick = <T>(all: readonly T[]): T | undefined => all[Math.trunc(random() * all.length)];
  let bytes = pick(seeds) ?? '';
  for (let left = Math.trunc(random() * 4); left > 0; left--) {
    const at = Math.trunc(random() * (bytes.length + 1));
    const to = at + Math.trunc(random() * 8);
    switch (Math.trunc(random() * 7)) {
      case 0:
        bytes = bytes.slice(0, at) + String.fromCharCode(Math.trunc(random() * 256)) + bytes.slice(at + 1);
        break;
      case 1:
      case 2:
        bytes = bytes.slice(0, at) + pick(pieces) + bytes.slice(at);
        break;
      case 3:
        bytes = bytes.slice(0, at) + bytes.slice(to);
        break;
      case 4:
        bytes = bytes.slice(0, to) + bytes.slice(at);
        break;
      case 5:
        bytes += pick(seeds);
        break;
      default:
        bytes = bytes.slice(0, at) + (pick(seeds) ?? '').slice(Math.trunc(random() * 40));
    }
  }
  return bytes;
}
