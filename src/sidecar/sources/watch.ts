import { watchDirectory } from '../../store/watch.ts';
import type { WatchOptions } from '../options.ts';
import type { ReloadContext, Reloader } from './reload.ts';

/** Looks at once, again when the watch stands, then whenever something happens in one of `directories` and now and then. */
export async function keepLooking(
  reloader: Reloader,
  directories: readonly string[],
  { debounceMs, pollMs }: WatchOptions,
  { log, signal }: Pick<ReloadContext, 'log' | 'signal'>,
): Promise<AsyncDisposable> {
  await reloader.reload();
  const stack = new AsyncDisposableStack();
  for (const dir of new Set(directories)) {
    stack.use(
      await watchDirectory({
        dir,
        debounceMs,
        pollMs,
        log,
        signal,
        onChange: () => reloader.reload(),
      }),
    );
  }
  return stack;
}
