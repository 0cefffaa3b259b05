import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './docs.ts';

/** What a comment above a code block of a document says of it. */
export type Block =
  /** `<!-- file: NAME -->` */
  | { readonly is: 'file'; readonly name: string; readonly text: string }
  /**
   * `<!-- run -->` or nothing; `<!-- run: exit N|any, until /x/, prints /x/ -->`: how it ends, what a command that lasts says
   * when it is ready, what the output has.
   */
  | {
      readonly is: 'run';
      readonly text: string;
      readonly exit: number | 'any';
      readonly until: RegExp | undefined;
      readonly prints: RegExp | undefined;
    }
  /** `<!-- held by: TEST -->`, a file; or `<!-- not run: REASON -->`. */
  | { readonly is: 'elsewhere'; readonly by: string | undefined; readonly text: string };

const BLOCK = /^(?<indent> *)(?:<!-- (?<comment>[^\n]*?) -->\n *)?```(?<language>\w*)\n(?<text>.*?)^ *```$/gms;
const COMMANDS = ['sh', 'bash', 'console'];

/** The commands of a document, and the files they need, in order. @throws TypeError for a comment that says nothing known */
export async function blocksOf(document: string): Promise<Block[]> {
  const text = await readFile(join(root, document), 'utf8');
  return [...text.matchAll(BLOCK)].flatMap(({ groups = {} }): Block[] => {
    const { indent = '', comment = '', language = '', text: raw = '' } = groups;
    const body = raw.replaceAll(new RegExp(`^${indent}`, 'gm'), '');
    const [what = '', rest = ''] = comment.split(/: (.*)/s);
    if (what === 'file') return [{ is: 'file', name: rest, text: body }];
    if (!COMMANDS.includes(language)) return [];
    if (what === 'held by') return [{ is: 'elsewhere', by: rest, text: body }];
    if (what === 'not run') return [{ is: 'elsewhere', by: undefined, text: body }];
    if (what !== '' && what !== 'run') throw new TypeError(`${document}: what does "${comment}" say of its block?`);
    const exit = /\bexit (\d+|any)/.exec(rest)?.[1] ?? '0';
    return [
      {
        is: 'run',
        text: body,
        exit: exit === 'any' ? exit : Number(exit),
        until: patternOf('until', rest),
        prints: patternOf('prints', rest),
      },
    ];
  });
}

function patternOf(word: string, text: string): RegExp | undefined {
  const [, source, flags] = new RegExp(`\\b${word} /((?:[^/\\\\]|\\\\.)+)/(\\w*)`).exec(text) ?? [];
  return source === undefined ? undefined : new RegExp(source, `s${flags}`);
}
