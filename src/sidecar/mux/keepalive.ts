import { SECOND } from '../../base/clock.ts';

/** After this long without a frame the peer is asked for a sign of life, and has `ANSWER_TIMEOUT` to give it. */
const SILENCE = 30 * SECOND;
const ANSWER_TIMEOUT = 10 * SECOND;

/** Tells a silent peer from a dead one. Half a header is no sign of life. */
export class Keepalive {
  #heard: number;
  #sign = false;
  #asked: number | undefined;

  constructor(now: number) {
    this.#heard = now;
  }

  /** A header, or a piece of payload, arrived. */
  sign(): void {
    this.#sign = true;
  }

  /** What to do now. */
  tick(now: number): 'wait' | 'ask' | 'dead' {
    if (this.#sign) {
      this.#sign = false;
      this.#heard = now;
      this.#asked = undefined;
      return 'wait';
    }
    if (this.#asked !== undefined) return now - this.#asked >= ANSWER_TIMEOUT ? 'dead' : 'wait';
    if (now - this.#heard < SILENCE) return 'wait';
    this.#asked = now;
    return 'ask';
  }
}
