import { createReadStream } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { nodeCode } from '../base/errors.ts';
import { namesIn } from '../store/files.ts';

/** The files of the audit log at `path` (`…/audit.log`), oldest first: it, and those of {@link pieceFrom}; none when there is no log. */
export async function auditPieces(path: string): Promise<string[]> {
  const [first, stem] = [basename(path), stemOf(basename(path))];
  const names = await namesIn(dirname(path));
  const later = names.filter(
    (name) => name.startsWith(`${stem}-`) && /^\d{12}\.log$/.test(name.slice(stem.length + 1)),
  );
  return [...(names.includes(first) ? [first] : []), ...later.sort()].map((name) => join(dirname(path), name));
}

/** The file in which the log at `path` goes on with entry `seq`. */
export function pieceFrom(path: string, seq: number): string {
  return `${stemOf(path)}-${String(seq).padStart(12, '0')}.log`;
}

/** Lines of a file that end, without their end; none when it is gone. */
export async function* completeLines(path: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of createReadStream(path)) {
      let data = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
      for (let end = data.indexOf(10); end !== -1; end = data.indexOf(10)) {
        yield data.subarray(0, end);
        data = data.subarray(end + 1);
      }
      rest = data;
    }
  } catch (error) {
    if (nodeCode(error) !== 'ENOENT') throw error;
  }
}

function stemOf(path: string): string {
  return path.replace(/\.log$/, '');
}
