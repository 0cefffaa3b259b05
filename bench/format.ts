export function duration(us: number): string {
  return us < 1_000 ? `${Math.round(us)} us` : `${(us / 1_000).toFixed(1)} ms`;
}

/** Three digits where there are so many: 0.612, 16.4, 1290. */
export function number(value: number): string {
  const digits = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.max(0, Math.min(2, 2 - digits)));
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

/** `-` for what is not known. */
export function percent(share: number): string {
  return Number.isNaN(share) ? '-' : `${(share * 100).toFixed(0)}%`;
}
