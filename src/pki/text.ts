const SECOND = 1_000;
const UNITS: ReadonlyArray<readonly [string, number]> = [
  ['d', 86_400 * SECOND],
  ['h', 3_600 * SECOND],
  ['min', 60 * SECOND],
  ['s', SECOND],
];

/** `2026-11-24 06:00:00 UTC` */
export function utc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** A duration in its two largest units: `3 h 12 min`, `40 s`; `0 s` below a second. */
export function span(ms: number): string {
  let left = Math.abs(ms);
  const parts: string[] = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.length === 0 ? '0 s' : parts.join(' ');
}

/** The first octets of a key identifier, as people compare them: `4c:91:0a:b2`. */
export function shortKeyId(hex: string | undefined): string {
  return hex === undefined || hex === '' ? 'none' : (hex.slice(0, 8).match(/.{1,2}/g) ?? []).join(':');
}
