import { buildBundle } from '../../../bench/bundle.ts';

let built: Promise<void> | undefined;

/** What the image runs: a sidecar from source holds three times as much memory. */
export function bundleForFaults(): Promise<void> {
  built ??= buildBundle();
  return built;
}
