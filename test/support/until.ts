import { setTimeout as delay } from 'node:timers/promises';

interface Patience {
  /** Between two looks, ms. */
  readonly every?: number;
  /** Ms, after which it is taken not to come about; a minute, which a busy machine does not miss. */
  readonly within?: number;
}

/** Waits until `condition` holds, looking often. @throws Error that shows the condition, should it not come about */
export async function until(
  condition: () => boolean | Promise<boolean>,
  { every = 5, within = 60_000 }: Patience = {},
): Promise<void> {
  const done = new AbortController();
  let late = false;
  // What never answers is bounded too.
  const over = delay(within, undefined, { signal: done.signal }).then(
    () => {
      late = true;
      return false;
    },
    () => false,
  );
  try {
    while (!(await Promise.race([condition(), over]))) {
      if (late) throw new Error(`did not come about in ${within / 1_000} s: ${condition}`);
      await delay(every);
    }
  } finally {
    done.abort();
  }
}
