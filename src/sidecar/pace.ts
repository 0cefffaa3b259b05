interface PaceOptions {
  readonly aTurn: number;
  readonly atOnce: number;
}

/** Runs what it is given now, or later where so much has begun in this turn of the event loop, or is under way. */
export interface Pace {
  enter(begin: () => void): void;
  /** What began is over. */
  leave(): void;
}

/** What is open is served between two turns, however much of what is dear begins at once (threats.md X20). */
export function createPace({ aTurn, atOnce }: PaceOptions): Pace {
  const waiting: Array<() => void> = [];
  let begun = 0;
  let underWay = 0;
  const nextTurn = () => {
    begun = 0;
    for (const begin of waiting.splice(0, Math.min(aTurn, atOnce - underWay))) run(begin);
  };
  const run = (begin: () => void) => {
    if (begun === 0) setImmediate(nextTurn);
    begun++;
    underWay++;
    begin();
  };
  return {
    enter(begin) {
      if (begun >= aTurn || underWay >= atOnce || waiting.length > 0) waiting.push(begin);
      else run(begin);
    },
    leave() {
      underWay--;
      // Else a turn is under way that looks itself.
      if (begun === 0 && waiting.length > 0) {
        begun = aTurn;
        setImmediate(nextTurn);
      }
    },
  };
}
