import { readFileSync } from 'node:fs';
import { nodeCode, SidelockError } from '../base/errors.ts';

interface ConfigFile {
  readonly name: string;
  readonly text: string;
}

/** `-` is standard input. @throws SL-CFG-001 */
export function readConfigFile(path: string): ConfigFile {
  try {
    return path === '-'
      ? { name: 'stdin', text: readFileSync(0, 'utf8') }
      : { name: path, text: readFileSync(path, 'utf8') };
  } catch (cause) {
    const why = { ENOENT: 'there is no such file', EACCES: 'this user may not read it', EISDIR: 'it is a directory' };
    const code = nodeCode(cause) ?? '';
    throw new SidelockError('SL-CFG-001', `cannot read the config file ${path}`, {
      why: Object.hasOwn(why, code) ? `${why[code as keyof typeof why]} (${code})` : code,
      cause,
    });
  }
}
