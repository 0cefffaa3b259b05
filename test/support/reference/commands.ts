import type { Command } from 'commander';
import { createOutput } from '../../../src/cli/output.ts';
import { buildProgram } from '../../../src/cli/program.ts';
import { table } from './table.ts';

/** Every command in the order of `sidelock --help`. */
export function commandTable(): string {
  const rows = program().commands.map((command) => {
    const inner = command.commands.map((sub) => sub.name()).join('|');
    return [`[\`${`${command.name()} ${inner}`.trim()}\`](#sidelock-${command.name()})`, command.summary()];
  });
  return table(['command', 'what it does'], rows);
}

/** What `--help` prints of every command, without the flags that all have. */
export function commandHelp(): string {
  return [...all(program(), 'sidelock')]
    .slice(1)
    .map(({ command, path }) => {
      const help = command.helpInformation();
      return `## ${path}\n\n\`\`\`text\n${help.slice(0, help.indexOf('\nOutput\n')).trimEnd()}\n\`\`\`\n\n`;
    })
    .join('');
}

/** The flags that all commands have. */
export function commonFlags(): string {
  const help = program().helpInformation();
  const rows = help
    .slice(help.indexOf('\nOutput\n') + 8)
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/));
  return table(
    ['flag', 'what it does'],
    rows.map(([flag = '', what = '']) => [`\`${flag}\``, what]),
  );
}

function* all(command: Command, path: string): Generator<{ command: Command; path: string }> {
  yield { command, path };
  for (const sub of command.commands) yield* all(sub, `${path} ${sub.name()}`);
}

function program(): Command {
  const { stdout, stderr } = process;
  const output = createOutput({ json: false, color: 'never', ascii: false, verbose: false, stdout, stderr });
  return buildProgram({ output, env: {}, exitCode: 0 });
}
