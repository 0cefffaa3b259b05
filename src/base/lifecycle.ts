/** Readiness as a set of named blockers: ready when none is left. Reported by name in `/readyz`. */
export class Readiness {
  readonly #blockers = new Map<string, string>();

  /** Adds a blocker, or replaces the text of one that is there. */
  block(name: string, why: string): void {
    this.#blockers.set(name, why);
  }

  unblock(name: string): void {
    this.#blockers.delete(name);
  }

  get ready(): boolean {
    return this.#blockers.size === 0;
  }

  /** Name and text of each blocker, in the order they were added. */
  blockers(): ReadonlyArray<{ readonly name: string; readonly why: string }> {
    return [...this.#blockers].map(([name, why]) => ({ name, why }));
  }
}

/** Things in use that a graceful stop waits for. */
export class Drain {
  #count = 0;
  #idle: (() => void) | undefined;

  get count(): number {
    return this.#count;
  }

  enter(): void {
    this.#count++;
  }

  leave(): void {
    this.#count--;
    if (this.#count === 0) this.#idle?.();
  }

  /** Resolves true when nothing is in use, false when `signal` aborts first. */
  wait(signal: AbortSignal): Promise<boolean> {
    if (this.#count === 0) return Promise.resolve(true);
    if (signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const aborted = () => settle(false);
      const settle = (idle: boolean) => {
        signal.removeEventListener('abort', aborted);
        this.#idle = undefined;
        resolve(idle);
      };
      this.#idle = () => settle(true);
      signal.addEventListener('abort', aborted, { once: true });
    });
  }
}
