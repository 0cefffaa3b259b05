const LIMIT = 65_536;
/** Primes whose product stays exact in a double (48 bits). */
const BATCH = 3;

let batches: ReadonlyArray<{ readonly product: bigint; readonly primes: readonly number[] }> | undefined;

/** True when a prime below 2^16 divides `modulus`: no key generator makes such an RSA key. A millisecond or two. */
export function hasSmallFactor(modulus: bigint): boolean {
  batches ??= makeBatches();
  return batches.some(({ product, primes }) => {
    const rest = Number(modulus % product);
    return primes.some((prime) => rest % prime === 0);
  });
}

function makeBatches() {
  const primes = primesBelow(LIMIT);
  return Array.from({ length: Math.ceil(primes.length / BATCH) }, (_, i) => {
    const some = primes.slice(i * BATCH, (i + 1) * BATCH);
    return { primes: some, product: BigInt(some.reduce((product, prime) => product * prime, 1)) };
  });
}

/** Sieve of Eratosthenes. */
function primesBelow(limit: number): number[] {
  const composite = new Uint8Array(limit);
  const primes: number[] = [];
  for (let n = 2; n < limit; n++) {
    if (composite[n] === 1) continue;
    primes.push(n);
    for (let multiple = n * n; multiple < limit; multiple += n) composite[multiple] = 1;
  }
  return primes;
}
