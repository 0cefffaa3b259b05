const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * `300ms 5s 10m 24h 90d`, compound `1h30m`, in milliseconds. Returns why not as text otherwise.
 * A bare number has no unit and is refused, so that nobody has to know whether it meant seconds.
 */
export function parseDuration(text: string): number | { readonly problem: string } {
  if (/^P/i.test(text)) return { problem: 'ISO 8601 durations are not used here; write 10m, 1h30m or 90d' };
  if (/^\d+(?:\.\d+)?$/.test(text)) return { problem: `has no unit; write ${text}s, ${text}m, ${text}h or ${text}d` };
  if (!/^(?:\d{1,9}(?:ms|[smhd]))+$/.test(text)) {
    return { problem: 'expected a duration such as 300ms, 5s, 10m, 1h30m or 90d' };
  }
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)(ms|[smhd])/g)) {
    total += Number(amount) * (UNITS[unit ?? ''] ?? 0);
  }
  return total;
}

const SIZES: Readonly<Record<string, number>> = { KiB: 1 << 10, MiB: 1 << 20, GiB: 1 << 30 };

/** `512KiB 200MiB 2GiB`, in bytes. Returns why not as text otherwise. */
export function parseSize(text: string): number | { readonly problem: string } {
  const [, amount, unit = ''] = /^(\d{1,9})([KMG]iB)$/.exec(text) ?? [];
  return amount === undefined
    ? { problem: 'expected a size such as 200MiB or 2GiB' }
    : Number(amount) * (SIZES[unit] ?? 0);
}
