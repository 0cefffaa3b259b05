import { MINUTE } from '../../base/clock.ts';
import type { EjectionOptions } from '../options.ts';

/** What an endpoint did wrong. A closed list: metric label and log field. */
export type FailureKind = 'connect' | 'handshake' | 'wrong_identity' | 'refused' | 'gateway';

/** Failures of a group are counted in a row together, and a success of the group ends the row. */
const GROUPS = { connect: 0, handshake: 0, wrong_identity: 0, refused: 1, gateway: 2 } as const;

export type HealthState = 'usable' | 'returning' | 'ejected';

const MAX_TIME = 5 * MINUTE;
/** Of what it would get otherwise, when it comes back. */
const FIRST_SHARE = 0.1;

/** What one endpoint did lately, and whether it is given anything. Times are ms since the epoch. */
export class Health {
  readonly #rows = [0, 0, 0];
  /** How often it was ejected lately. */
  #times = 0;
  #ejectedFor = 0;
  #until = 0;
  #returnedAt = 0;
  state: HealthState = 'usable';
  /** 1, or less while it comes back. */
  share = 1;

  get ejectedUntil(): number | undefined {
    return this.state === 'ejected' ? this.#until : undefined;
  }

  succeeded(kind: FailureKind): void {
    this.#rows[GROUPS[kind]] = 0;
  }

  /** True when it failed often enough in a row to be ejected. Once is enough for who is somebody else, or came back. */
  failed(kind: FailureKind, failures: number): boolean {
    const group = GROUPS[kind];
    const row = (this.#rows[group] ?? 0) + 1;
    this.#rows[group] = row;
    if (this.state === 'ejected') return false;
    return row >= failures || kind === 'wrong_identity' || this.state === 'returning';
  }

  /** How long, ms: twice as long each time, until it has done well for as long as it was out. */
  eject(now: number, { timeMs }: EjectionOptions): number {
    this.#ejectedFor = Math.min(MAX_TIME, timeMs * 2 ** Math.min(this.#times, 20));
    this.#times++;
    this.#until = now + this.#ejectedFor;
    this.state = 'ejected';
    this.share = 1;
    this.#rows.fill(0);
    return this.#ejectedFor;
  }

  /** Time goes on. True when `state` or `share` changed. */
  tick(now: number, { timeMs }: EjectionOptions): boolean {
    if (this.state === 'usable') {
      if (this.#times > 0 && now - this.#returnedAt >= timeMs + this.#ejectedFor) {
        this.#times--;
        this.#returnedAt = now;
      }
      return false;
    }
    if (this.state === 'ejected') {
      if (now < this.#until) return false;
      this.#returnedAt = now;
      this.state = 'returning';
    }
    this.share = Math.min(1, Math.max(FIRST_SHARE, (now - this.#returnedAt) / timeMs));
    if (this.share === 1) this.state = 'usable';
    return true;
  }
}
