import type { Command } from 'commander';
import { ERROR_PAGES, type ErrorCode, SidelockError } from '../base/errors.ts';
import { nearest } from '../config/nearest.ts';
import { type Context, command } from './command.ts';
import { table } from './table.ts';

export function explainCommand(context: Context): Command {
  return command('explain', {
    summary: 'what an error code means and what to do',
    description: 'Prints the page of an error code, offline. Without a code: all of them.',
    examples: [
      ['sidelock explain SL-NET-001', 'why a port cannot be used'],
      ['sidelock explain net-001', 'the same'],
      ['sidelock explain', 'every code'],
    ],
  })
    .argument('[code]', 'as printed with an error')
    .action((code: string | undefined) => {
      if (code === undefined) printAll(context);
      else printOne(context, pageCode(code));
    });
}

function pageCode(text: string): ErrorCode {
  const upper = text.toUpperCase();
  const code = upper.startsWith('SL-') ? upper : `SL-${upper}`;
  if (isCode(code)) return code;
  const near = nearest(code, Object.keys(ERROR_PAGES));
  throw new SidelockError('SL-USAGE-001', `there is no error code ${text}`, {
    fix: near === undefined ? 'sidelock explain   lists them' : `did you mean ${near}?`,
  });
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_PAGES, code);
}

function printOne({ output }: Context, code: ErrorCode): void {
  const { title, why, fix } = ERROR_PAGES[code];
  output.result(
    { code, title, why, fix },
    () => `${output.style('bold', `${code}  ${title}`)}\n\n  why  ${why}\n  fix  ${fix}\n`,
  );
}

function printAll({ output }: Context): void {
  const pages = Object.entries(ERROR_PAGES).map(([code, page]) => ({ code, ...page }));
  output.result({ apiVersion: 'sidelock/v1', kind: 'ErrorCodeList', items: pages }, () =>
    table(
      ['code', 'meaning'],
      pages.map(({ code, title }) => [code, title]),
      { width: undefined },
    ),
  );
}
