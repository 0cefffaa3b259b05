import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { nodeCode, SidelockError } from '../base/errors.ts';

interface ConfigFile {
  readonly name: string;
  readonly text: string;
}

/** `-` is standard input. @throws SL-CFG-001 */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  try {
    return path === '-'
      ? { name: 'stdin', text: await text(process.stdin) }
      : { name: path, text: await readFile(path, 'utf8') };
  } catch (cause) {
    const why = { ENOENT: 'there is no such file', EACCES: 'this user may not read it', EISDIR: 'it is a directory' };
    const code = nodeCode(cause) ?? '';
    throw new SidelockError('SL-CFG-001', `cannot read the config file ${path}`, {
      why: Object.hasOwn(why, code) ? `${why[code as keyof typeof why]} (${code})` : code,
      cause,
    });
  }
}
