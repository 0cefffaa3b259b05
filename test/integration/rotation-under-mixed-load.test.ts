import t from 'tap';
import { rotateUnderMixedLoad } from '../support/mixed-rotation.ts';

/** The long form is `npm run soak:mixed`. */
for (const streams of [true, false]) {
  t.test(`rotated four times under mixed load, ${streams ? 'in streams' : 'without'}: nothing fails`, (t) =>
    rotateUnderMixedLoad(t, streams, 4),
  );
}
