import t from 'tap';
import { rotateUnderMixedLoad } from '../support/mixed-rotation.ts';

/** Run by `npm run soak:mixed`. Connections that were replaced live on for limits.linkGrace, an hour unless set. */
const SECONDS = Number(process.env['SIDELOCK_SOAK_SECONDS'] ?? 120);

for (const streams of [true, false]) {
  t.test(`${SECONDS} s, a rotation each second, ${streams ? 'in streams' : 'without'}`, (t) =>
    rotateUnderMixedLoad(t, streams, SECONDS),
  );
}
