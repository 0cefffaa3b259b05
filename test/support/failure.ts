import { isSidelockError, type SidelockError } from '../../src/base/errors.ts';

/** The SidelockError that `run` throws; anything else it does fails the test. */
export function failureOf(run: () => unknown): SidelockError {
  try {
    run();
  } catch (error) {
    if (isSidelockError(error)) return error;
    throw error;
  }
  throw new Error('expected a SidelockError');
}
