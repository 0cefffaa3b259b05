/** A curve that keeps this close to the straight line between its ends, as a share of its height, does not bend. */
const STRAIGHT = 0.1;

/**
 * x of the point that lies farthest from the straight line between the ends, where each step doubles x (so x counts by
 * its logarithm). Undefined for a curve that is nearly straight, and for one of less than three points.
 */
export function bend(points: ReadonlyArray<readonly [x: number, y: number]>): number | undefined {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined || points.length < 3) return undefined;
  const ys = points.map(([, y]) => y);
  const height = Math.max(...ys) - Math.min(...ys);
  if (height === 0) return undefined;
  const width = Math.log2(last[0]) - Math.log2(first[0]);
  const [farthest] = points
    .map(([x, y]) => {
      const along = (Math.log2(x) - Math.log2(first[0])) / width;
      return { x, distance: Math.abs(y - (first[1] + along * (last[1] - first[1]))) / height };
    })
    .toSorted((a, b) => b.distance - a.distance);
  return farthest !== undefined && farthest.distance > STRAIGHT ? farthest.x : undefined;
}
