import { isDeepStrictEqual } from 'node:util';
import { isMap, isNode, isScalar, parseDocument } from 'yaml';
import { SidelockError } from '../base/errors.ts';
import { formatPath, type Path, withValue } from './setting.ts';
import { readYaml } from './yaml.ts';

/**
 * The text of a config file with one word in another place's stead, or added to a block that is there. Comments, order and
 * spelling of all else stay as they are.
 * @throws SL-CFG-006 where that is not possible, as in an alias
 */
export function withWord(text: string, file: string, path: Path, word: string): string {
  const edited = edit(text, path, word);
  const wanted = withValue(readYaml(text, file).value, path, word);
  if (edited !== undefined && isDeepStrictEqual(readYaml(edited, file).value, wanted)) return edited;
  throw new SidelockError('SL-CFG-006', `${file} cannot be edited from here`, {
    fix: `set ${formatPath(path)}: ${word} in it by hand`,
  });
}

function edit(text: string, path: Path, word: string): string | undefined {
  const document = parseDocument(text, { schema: 'core' });
  const old = document.getIn(path, true);
  if (isScalar(old) && old.range) return spliced(text, old.range[0], old.range[1], word);
  const block = document.getIn(path.slice(0, -1), true);
  if (old !== undefined || !isMap(block)) return undefined;
  const first = block.items[0]?.key;
  if (!isNode(first) || !first.range) return undefined;
  const [start] = first.range;
  const entry = `${path.at(-1)}: ${word}`;
  const column = start - (text.lastIndexOf('\n', start - 1) + 1);
  return spliced(text, start, start, block.flow === true ? `${entry}, ` : `${entry}\n${' '.repeat(column)}`);
}

function spliced(text: string, from: number, to: number, put: string): string {
  return text.slice(0, from) + put + text.slice(to);
}
