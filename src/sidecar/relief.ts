import { boundBuffers, dropSpare } from './buffers.ts';
import type { Connections } from './connections.ts';
import type { DataPlane } from './data-plane.ts';
import { memoryRelieved } from './no-room.ts';

/** How often it is looked whether memory is nearly gone, ms. */
const RELIEF = 100;

/** Of the memory there may be, what large buffers of connections take: about as much as spare ones. */
const BUFFERS = 1 / 8;

/** While new ones are refused and nobody has to go, garbage is collected for one part of so many of the time at most. */
const COLLECT = 20;

/** Spare buffers of this many bytes are worth a collection at any time. */
const WORTH = 1 << 20;

interface Plane extends Pick<DataPlane, 'clock' | 'limits' | 'refusals'> {
  readonly connections: Pick<Connections, 'memory' | 'relieve'>;
}

/** Keeps this thread's part of the process within `limits.maxMemory`, if that is known. */
export function startRelief(plane: Plane): Disposable {
  const { connections, clock, limits } = plane;
  const { maxMemory, threads = 1 } = limits;
  if (maxMemory === undefined) return { [Symbol.dispose]() {} };
  boundBuffers((maxMemory * BUFFERS) / threads);
  let next = 0;
  /** Where that cannot be asked for it happens some time later. */
  const collect = () => {
    const began = clock.now();
    globalThis.gc?.({ type: 'major', execution: 'sync' });
    connections.memory.lookAgain();
    const end = clock.now();
    next = end + (end - began) * COLLECT;
  };
  const look = setInterval(() => {
    if (!connections.memory.short(0)) return;
    const spare = dropSpare();
    const closed = connections.relieve(spare);
    if (closed > 0) {
      memoryRelieved(closed, plane);
      // Not before their sockets are closed, at the end of this turn: until then they are held.
      setImmediate(() => setImmediate(collect));
    } else if (spare >= WORTH || clock.now() >= next) collect();
  }, RELIEF).unref();
  return {
    [Symbol.dispose]() {
      clearInterval(look);
    },
  };
}
