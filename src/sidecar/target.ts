import type { DataPlane } from './data-plane.ts';
import { type DialFailure, targetName } from './dial.ts';
import type { InboundOptions } from './options.ts';

/** Counts and explains that the app behind an inbound cannot be reached. */
export function targetDown({ reason, system }: DialFailure, options: InboundOptions, plane: DataPlane): void {
  plane.metrics.targetErrors.with({ listener: options.name, reason }).value++;
  const target = targetName(options.target);
  plane.refusals.warn(
    `${options.name} target ${reason}`,
    {
      event: 'target_down',
      code: 'SL-APP-001',
      reason,
      listener: options.name,
      target,
      system,
      fix: `start the app, or correct target of inbound "${options.name}"`,
    },
    `the app of inbound "${options.name}" does not answer on ${target} (${system})`,
  );
}
