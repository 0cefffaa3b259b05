import type { DataPlane } from '../data-plane.ts';
import { dial } from '../dial.ts';
import { type Load, onlyLoad } from '../load.ts';
import type { InboundOptions } from '../options.ts';
import { socketLink } from '../socket-link.ts';
import { targetDown } from '../target.ts';
import type { OpenLink } from './upstream.ts';

/** How requests of a listener reach the one app behind it. */
export function toApp(options: InboundOptions, plane: DataPlane) {
  const load = onlyLoad();
  const open: OpenLink = (_load, done) => {
    const app = dial(options.target, plane.limits.connectTimeoutMs, (failure) => {
      if (failure === undefined) return done({ link: socketLink(app, plane), load });
      targetDown(failure, options, plane);
      done({ status: 503, reason: 'unreachable', code: 'SL-APP-001', sentence: 'the app does not answer' });
    });
  };
  return {
    direction: 'inbound',
    listener: options.name,
    pick: (beside: Load | undefined) => (beside === undefined ? load : undefined),
    open,
  } as const;
}
