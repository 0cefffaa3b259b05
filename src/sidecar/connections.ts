import type { Clock } from '../base/clock.ts';
import { Crowd } from '../base/crowd.ts';
import { Drain } from '../base/lifecycle.ts';
import type { Cell } from '../base/metrics.ts';
import { type Age, type AgeLimits, ageOf } from './age.ts';
import { createCallerPlaces } from './caller-places.ts';
import { heaviest } from './heaviest.ts';
import type { CloseReason, DataPlaneMetrics, Direction } from './metrics.ts';
import type { LinkKind, TlsFacts } from './peer-link.ts';
import type { Relay } from './relay.ts';
import { type MemoryGauge, memoryGauge, type Shortage } from './room.ts';

interface Peer {
  readonly address: string;
  /** Undefined for the local app. */
  readonly id: string;
  readonly serial: string;
}

/** One relayed connection, as `/connections` shows it. */
export interface ConnectionInfo {
  readonly id: number;
  readonly direction: Direction;
  readonly listener: string;
  /** Whether the peer is reached by a connection of its own, or a stream of a shared one; undefined as `peer`. */
  readonly kind: LinkKind | undefined;
  /** Undefined where requests of one connection go over several to the peer; so are `self` and `tls`. */
  readonly peer: Peer | undefined;
  readonly self: { readonly id: string; readonly serial: string; readonly generation: number } | undefined;
  /** The plaintext side: the app behind an inbound, or the local caller of an outbound. Asked for when it is shown. */
  readonly local: () => string;
  readonly tls: TlsFacts | undefined;
  /** The caller of a permissive listener has no TLS: of `peer` only the address is known. */
  readonly plaintext?: boolean;
  /** ms since the epoch. */
  readonly since: number;
}

/** With the bytes that came from the peer, and went to it, so far. */
export interface ShownConnection extends Omit<ConnectionInfo, 'local'> {
  readonly local: string;
  readonly received: number;
  readonly sent: number;
}

interface Live extends ConnectionInfo {
  readonly finish: (() => void) | undefined;
  readonly age: Age;
  /** It was asked to make room for a newer one. */
  retired: boolean;
  readonly relay: Relay;
  readonly cells: Cells;
  readonly received: Cell;
  readonly sent: Cell;
  reportedReceived: number;
  reportedSent: number;
  /** Bytes that waited for a reader at the last sweep. */
  waited: number;
  /** ms since the epoch of the last sweep that saw bytes move. */
  lastActive: number;
  reason: CloseReason | undefined;
}

interface ConnectionLimits extends AgeLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerCaller?: number;
  readonly idleTimeoutMs: number;
  readonly maxDescriptors?: number;
  readonly maxMemory?: number;
  readonly threads?: number;
}

/** What a connection may need of them: its own, and one to where it leads. A stream has only one of the two. */
const DESCRIPTORS = 2;

export interface NewConnection extends Omit<ConnectionInfo, 'id' | 'since'> {
  /** Lets the relay end at the next point where nothing is lost; without it, it ends when its two sides do. */
  readonly finish?: () => void;
  /** When the certificates it was made with end, ms since the epoch. */
  readonly notAfter?: number | undefined;
  /** Starts the relay, counting into the cells, and calls `closed` at its end. */
  readonly start: (received: Cell, sent: Cell, closed: (error: Error | undefined) => void) => Relay;
  readonly closed?:
    | ((reason: CloseReason, received: number, sent: number, error: Error | undefined) => void)
    | undefined;
}

/** Every live connection of the sidecar: their number, age, idleness and end. */
export interface Connections {
  readonly drains: Readonly<Record<Direction, Drain>>;
  /** Undefined when there is room, which is then taken; counts connections that are still in their handshake too. */
  admit(): Shortage | undefined;
  /** Counts an inbound connection, or stream, that was admitted for its caller; false when that has too many. */
  claim(id: string): boolean;
  /** Gives back what `admit` took, and `claim` for this caller, for a connection that never got to `add`. */
  dismiss(caller?: string): void;
  add(connection: NewConnection): void;
  list(): ShownConnection[];
  count(only: (connection: ConnectionInfo) => boolean): number;
  /** Enforces idle and lifetime limits; called about once a second. */
  sweep(): void;
  readonly memory: MemoryGauge;
  /**
   * When memory is nearly gone, resets those that hold most of it, or streams of them, first for readers that take nothing.
   * How many; asked several times a second. What they held, and `spare` bytes that somebody let go of, is free when it was
   * collected.
   */
  relieve(spare: number): number;
  /** Copies byte counts of live connections into the metrics. */
  report(): void;
  /** Lets connections of which we know where one may stop end there; all, or those of `only`. */
  finishAll(direction: Direction, only?: (connection: ConnectionInfo) => boolean): void;
  resetAll(direction: Direction): void;
  /** Resets those with this peer, which is no longer accepted. How many. */
  cut(direction: Direction, id: string, serial: string): number;
  /** Breaks off those for which `reasonFor` has a reason; their number. */
  breakOff(reasonFor: (connection: ConnectionInfo) => CloseReason | undefined): number;
}

export function createConnections(limits: ConnectionLimits, metrics: DataPlaneMetrics, clock: Clock): Connections {
  const live = new Crowd<Live>();
  const cellsOf = memoCells(metrics);
  const drains = { inbound: new Drain(), outbound: new Drain() };
  const callers = createCallerPlaces(limits.maxConnectionsPerCaller ?? Number.POSITIVE_INFINITY);
  const memory = memoryGauge(limits.maxMemory, clock, limits.threads);
  const maxDescriptors = limits.maxDescriptors ?? Number.POSITIVE_INFINITY;
  let admitted = 0;
  let streams = 0;
  // Of those that were here at the last sweep, and at the one before.
  let last = 0;
  let grown = 0;
  let nextId = 1;

  /** Those that are ending already are reset too, and keep their reason. */
  const resetWhere = (test: (c: Live) => boolean, reason: CloseReason): number => {
    const doomed = [...live].filter(test);
    for (const c of doomed) {
      c.reason ??= reason;
      c.relay.reset(c.reason);
    }
    return doomed.length;
  };

  const reportOne = (c: Live) => {
    c.cells.rx.value += c.received.value - c.reportedReceived;
    c.cells.tx.value += c.sent.value - c.reportedSent;
    c.reportedReceived = c.received.value;
    c.reportedSent = c.sent.value;
  };

  return {
    drains,
    memory,
    admit() {
      if (admitted >= limits.maxConnections) return 'limit';
      if ((admitted + 1) * DESCRIPTORS - streams > maxDescriptors) return 'descriptors';
      if (memory.short(Math.max(0, admitted - grown))) return 'memory';
      admitted++;
      return undefined;
    },
    claim: (id) => callers.claim(id),
    dismiss(caller) {
      admitted--;
      if (caller !== undefined) callers.release(caller);
    },
    add({ start, finish, notAfter, ...info }) {
      const received = { value: 0 };
      const sent = { value: 0 };
      const cells = cellsOf(info.direction, info.listener, info.plaintext === true ? 'plaintext' : 'mtls');
      const now = clock.now();
      const ended = (error: Error | undefined) => {
        live.leave(place);
        admitted--;
        if (info.direction === 'inbound' && info.peer !== undefined) callers.release(info.peer.id);
        if (info.kind === 'shared') streams--;
        reportOne(connection);
        const byItself = connection.retired ? 'lifetime' : error === undefined ? 'done' : 'error';
        const reason = connection.reason ?? byItself;
        cells.closed[reason].value++;
        cells.connections.value--;
        drains[info.direction].leave();
      };
      if (info.kind === 'shared') streams++;
      drains[info.direction].enter();
      cells.connections.value++;
      cells.opened.value++;
      const connection: Live = {
        ...info,
        id: nextId++,
        finish,
        age: ageOf({ now, notAfter, orderly: finish !== undefined }, limits),
        retired: false,
        since: now,
        relay: start(received, sent, ended),
        cells,
        received,
        sent,
        waited: 0,
        reportedReceived: 0,
        reportedSent: 0,
        lastActive: now,
        reason: undefined,
      };
      const place = live.enter(connection);
    },
    list: () =>
      [...live]
        .sort((a, b) => a.id - b.id)
        .map(
          ({
            relay: _,
            finish: _f,
            age: _a,
            retired: _i,
            cells: _c,
            reportedReceived: _r,
            reportedSent: _s,
            lastActive: _l,
            waited: _w,
            reason: _e,
            ...info
          }) => ({
            ...info,
            local: info.local(),
            received: info.received.value,
            sent: info.sent.value,
          }),
        ),
    count(only) {
      let count = 0;
      for (const c of live) if (only(c)) count++;
      return count;
    },
    sweep() {
      const now = clock.now();
      grown = last;
      last = admitted;
      for (const c of live) {
        if (c.relay.takeActivity()) c.lastActive = now;
        c.waited = c.relay.waiting();
        if (c.reason !== undefined) continue;
        const quiet = now - c.lastActive;
        if (quiet >= limits.idleTimeoutMs || now >= c.age.endAt) {
          c.reason = now >= c.age.endAt ? 'lifetime' : 'idle';
          c.relay.reset(c.reason);
        } else if (now >= c.age.retireAt) {
          c.retired = true;
          c.relay.retire(quiet);
        }
      }
    },
    relieve(spare) {
      let excess = memory.excess() - spare;
      if (excess <= 0) return 0;
      const heavy = heavyOf(live);
      const waiting = heavy.reduce((sum, some) => sum + some.waiting, 0);
      // What waits here has more behind it that waits in the kernel, which goes with it.
      excess *= waiting / (waiting + memory.sockets());
      let count = 0;
      for (const { one: c, waiting } of heavy) {
        if (excess <= 0) break;
        count++;
        const shed = c.relay.shed?.(excess) ?? 0;
        excess -= shed > 0 ? shed : waiting;
        if (shed > 0) continue;
        c.reason = 'memory';
        c.relay.reset(c.reason);
      }
      return count;
    },
    report() {
      for (const c of live) reportOne(c);
    },
    finishAll(direction, only = () => true) {
      for (const c of live) if (c.direction === direction && only(c)) c.finish?.();
    },
    cut: (direction, id, serial) =>
      resetWhere((c) => c.direction === direction && c.peer?.id === id && c.peer.serial === serial, 'reauth'),
    resetAll(direction) {
      resetWhere((c) => c.direction === direction, 'drain');
    },
    breakOff(reasonFor) {
      const doomed = [...live].filter((c) => {
        if (c.reason !== undefined) return false;
        c.reason = reasonFor(c);
        return c.reason !== undefined;
      });
      for (const c of doomed) c.relay.reset(c.reason);
      return doomed.length;
    },
  };
}

/** Those that hold much, first for readers that took nothing since the last sweep, then those that hold most. */
function heavyOf(live: Iterable<Live>) {
  const heavy = heaviest(live, (c) => (c.reason === undefined ? c.relay.waiting() : 0));
  const isStuck = ({ one, waiting }: (typeof heavy)[number]) => waiting === one.waited;
  return [...heavy.filter(isStuck), ...heavy.filter((some) => !isStuck(some))];
}

/** The cells of one listener: looked up once, as connections may come by the thousand a second. */
type Cells = ReturnType<typeof cellsFor>;

function memoCells(metrics: DataPlaneMetrics): (direction: Direction, listener: string, tls: Tls) => Cells {
  const fresh = () => ({ mtls: new Map<string, Cells>(), plaintext: new Map<string, Cells>() });
  const known = { inbound: fresh(), outbound: fresh() };
  return (direction, listener, tls) => {
    const of = known[direction][tls];
    let cells = of.get(listener);
    if (cells === undefined) {
      cells = cellsFor(direction, listener, tls, metrics);
      of.set(listener, cells);
    }
    return cells;
  };
}

type Tls = 'mtls' | 'plaintext';

function cellsFor(direction: Direction, listener: string, tls: Tls, metrics: DataPlaneMetrics) {
  const labels = { direction, listener };
  const closed = (reason: CloseReason) => metrics.closed.with({ ...labels, reason });
  return {
    connections: metrics.connections.with({ ...labels, tls }),
    opened: metrics.opened.with({ ...labels, tls }),
    rx: metrics.bytes.with({ ...labels, way: 'rx' }),
    tx: metrics.bytes.with({ ...labels, way: 'tx' }),
    closed: {
      done: closed('done'),
      error: closed('error'),
      idle: closed('idle'),
      lifetime: closed('lifetime'),
      drain: closed('drain'),
      reauth: closed('reauth'),
      denied: closed('denied'),
      memory: closed('memory'),
    },
  };
}
