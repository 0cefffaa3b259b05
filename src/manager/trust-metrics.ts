import type { Metrics } from '../base/metrics.ts';
import type { Trust } from './trust.ts';

interface Shown extends Pick<Trust, 'generation' | 'phase' | 'behind'> {
  bundle(): { readonly roots: readonly unknown[] };
}

/** The gauges of the succession of roots. */
export function showTrust(metrics: Metrics, trust: Shown): void {
  const generation = metrics.gauge(
    'sidelock_trust_generation',
    'Steps taken on trust: grows with each change of roots.',
  );
  const roots = metrics.gauge('sidelock_trust_roots', 'Roots in the trust bundle.');
  const phases = metrics.gauge('sidelock_trust_phase', '1 for the phase of the succession of roots, else 0.', [
    'phase',
  ]);
  const behind = metrics.gauge(
    'sidelock_trust_behind',
    'Certificates of sidecars in use that are of an old root or whose holder has not confirmed the bundle.',
  );
  metrics.onScrape(() => {
    generation.with({}).value = trust.generation();
    roots.with({}).value = trust.bundle().roots.length;
    for (const phase of ['steady', 'staged', 'active', 'compromised']) {
      phases.with({ phase }).value = trust.phase() === phase ? 1 : 0;
    }
    behind.with({}).value = trust.behind();
  });
}
