import type { Command } from 'commander';
import t from 'tap';
import { createOutput } from '../../../src/cli/output.ts';
import { buildProgram } from '../../../src/cli/program.ts';

const { stdout, stderr } = process;
const output = createOutput({ json: false, color: 'never', ascii: false, verbose: false, stdout, stderr });
const program = buildProgram({ output, env: {}, exitCode: 0 });

function* all(command: Command, path: string): Generator<{ command: Command; path: string }> {
  yield { command, path };
  for (const sub of command.commands) yield* all(sub, `${path} ${sub.name()}`);
}

t.test('every command: usage, examples that name it, flags in groups, the common ones last', async (t) => {
  for (const { command, path } of all(program, 'sidelock')) {
    const help = command.helpInformation();
    t.ok(help.startsWith(`usage: ${path} `), path);
    const examples = help.split('\n').filter((line) => new RegExp(`^  (?!#).*\\b${path}\\b`).test(line));
    t.ok(examples.length >= 1, `${path} has an example of its own`);
    t.ok(help.indexOf('\nExamples\n') < help.indexOf('\nOutput\n'), path);
    t.match(help, /-h, --help +this text\n$/, path);
    t.notMatch(help, /<\w+>/, `${path} writes FILE, not <file>`);
  }
});

t.test('every option has a sentence, and every secret comes by file too', async (t) => {
  for (const { command, path } of all(program, 'sidelock')) {
    for (const { long, description } of command.options) t.ok(description.length > 5, `${path} ${long}`);
    const longs = command.options.map(({ long }) => long);
    t.notOk(longs.includes('--passphrase'), path);
    if (longs.includes('--token')) t.ok(longs.includes('--token-file'), path);
  }
});
