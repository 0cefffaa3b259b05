export function duration(ms: number): string {
  return ms < 1 ? `${Math.round(ms * 1_000)} us` : `${ms.toFixed(1)} ms`;
}

/** Three digits where there are so many: 0.612, 16.4, 1290. */
export function number(value: number): string {
  if (value === 0) return '0';
  const digits = Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.max(0, Math.min(3, 2 - digits)));
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

/** `-` for what is not known. */
export function percent(share: number): string {
  return Number.isNaN(share) ? '-' : `${(share * 100).toFixed(0)}%`;
}
