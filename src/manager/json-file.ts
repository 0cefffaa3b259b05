import { nodeCode, SidelockError } from '../base/errors.ts';
import { readRegularFile } from '../store/files.ts';

/**
 * A file that this program wrote, or undefined when it is not there. Its shape is taken on trust: it lies in a
 * directory that nobody else may write, and is always written as a whole.
 * @throws SidelockError SL-STORE-003 when it is not JSON, SL-FS-001 when it is larger than `maxBytes` (1 MiB)
 */
export async function readJsonFile<T>(path: string, maxBytes?: number): Promise<T | undefined> {
  let text: string;
  try {
    text = (await readRegularFile(path, maxBytes)).data.toString('utf8');
  } catch (error) {
    if (nodeCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new SidelockError('SL-STORE-003', `${path} is damaged`, { why: 'it is not JSON', cause });
  }
}
