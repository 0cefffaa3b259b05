/** How many connections each caller has, so that one of them cannot take the room of all. */
export interface CallerPlaces {
  /** False when this one, by its SPIFFE id, has as many as one may have. Whatever was claimed is released once. */
  claim(id: string): boolean;
  release(id: string): void;
}

export function createCallerPlaces(most: number): CallerPlaces {
  const taken = new Map<string, number>();
  return {
    claim(id) {
      const count = taken.get(id) ?? 0;
      if (count >= most) return false;
      taken.set(id, count + 1);
      return true;
    },
    release(id) {
      const count = taken.get(id) ?? 0;
      if (count > 1) taken.set(id, count - 1);
      else taken.delete(id);
    },
  };
}
