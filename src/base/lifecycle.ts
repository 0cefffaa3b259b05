/** Readiness as a set of named blockers: ready when none is left. Reported by name in `/readyz`. */
export class Readiness {
  readonly #blockers = new Map<string, string>();
  readonly #waiting = new Set<() => void>();

  /** Adds a blocker, or replaces the text of one that is there. */
  block(name: string, why: string): void {
    this.#blockers.set(name, why);
  }

  unblock(name: string): void {
    this.#blockers.delete(name);
    if (!this.ready) return;
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** Resolves the first time nothing blocks; rejects with the reason of `signal` when it aborts before. */
  whenReady(signal: AbortSignal): Promise<void> {
    if (this.ready) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const aborted = () => reject(signal.reason);
      signal.addEventListener('abort', aborted, { once: true });
      this.#waiting.add(() => {
        signal.removeEventListener('abort', aborted);
        resolve();
      });
    });
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
