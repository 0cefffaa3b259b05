import type { DataPlane } from './data-plane.ts';
import type { Direction } from './metrics.ts';
import type { Shortage } from './room.ts';

/** Counts and explains that a connection was closed before anything else, as there was no room for it. */
export function noRoom(direction: Direction, listener: string, shortage: Shortage, plane: DataPlane): void {
  plane.metrics.refused.with({ direction, listener, reason: shortage }).value++;
  const { code, why, fix } = EXPLAINED[shortage];
  const { maxConnections, maxDescriptors, maxMemory } = plane.limits;
  plane.refusals.warn(
    `no room ${shortage}`,
    { event: 'no_room', code, reason: shortage, listener, maxConnections, maxDescriptors, maxMemory, fix },
    `connections are refused: ${why}`,
  );
}

/** Explains that open connections were reset, so that the process lives. */
export function memoryRelieved(closed: number, { refusals, limits }: Pick<DataPlane, 'refusals' | 'limits'>): void {
  const { maxMemory } = limits;
  const { code, fix } = EXPLAINED.memory;
  refusals.warn(
    'memory relieved',
    { event: 'memory_relieved', code, closed, maxMemory, fix },
    `${closed} connections with slow readers were reset: the process holds more memory than it may`,
  );
}

const EXPLAINED = {
  limit: {
    code: 'SL-LIMIT-001',
    why: 'limits.maxConnections are open',
    fix: 'raise limits.maxConnections, or find the caller that keeps them open',
  },
  descriptors: {
    code: 'SL-LIMIT-005',
    why: 'there would be no file descriptors left',
    fix: 'raise ulimit -n (LimitNOFILE of systemd) to twice limits.maxConnections and 100 more',
  },
  memory: {
    code: 'SL-LIMIT-006',
    why: 'the process and its sockets hold as much memory as they may',
    fix: 'give it more memory, or lower limits.maxConnections',
  },
} as const;
