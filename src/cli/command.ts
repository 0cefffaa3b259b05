import { Command, type Help, Option } from 'commander';
import type { Output } from './output.ts';

/** What the commands share. */
export interface Context {
  readonly output: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the process ends with; 0 unless a command says otherwise. */
  exitCode: number;
}

interface CommandText {
  /** One line for the list of commands. */
  readonly summary: string;
  readonly description: string;
  /** Command line and what it does; three of them unless there is less to show. */
  readonly examples: ReadonlyArray<readonly [string, string]>;
}

const texts = new WeakMap<Command, CommandText>();
const OUTPUT_GROUP = 'Output';

/** A command with the flags that all have, help that shows examples first, and errors that are thrown, not printed. */
export function command(name: string, text: CommandText): Command {
  const made = new Command(name)
    .summary(text.summary)
    .description(text.description)
    .helpCommand(false)
    .allowExcessArguments(false)
    // Each command reads the flags behind its name: --format means more to some.
    .enablePositionalOptions()
    .helpOption('-h, --help', 'this text')
    .configureHelp({ formatHelp })
    .configureOutput({ outputError: () => {} })
    .exitOverride();
  texts.set(made, text);
  const common = [
    new Option('-o, --format <FORMAT>', 'of results and errors').choices(['text', 'json']).default('text'),
    new Option('--color <WHEN>', 'colours').choices(['auto', 'always', 'never']).default('auto'),
    new Option('--ascii', 'no signs outside ASCII; without it LANG decides'),
    new Option('-v, --verbose', 'stack and cause of an error'),
  ];
  for (const option of common) made.addOption(option.helpGroup(OUTPUT_GROUP));
  return made;
}

function formatHelp(cmd: Command, help: Help): string {
  const text = texts.get(cmd);
  const usage = help
    .commandUsage(cmd)
    .replace(/<(\w+)(\.{3})?>/g, (_, name: string, more = '') => name.toUpperCase() + more);
  const sections = [`usage: ${usage}`, text?.description ?? ''];
  if (text !== undefined) sections.push(examples(text.examples));
  const groups = Map.groupBy(help.visibleCommands(cmd), (sub) => sub.helpGroup() || 'Commands');
  for (const [heading, commands] of groups) {
    sections.push(
      section(
        heading,
        commands.map((sub) => [termOf(sub), sub.summary()] as const),
      ),
    );
  }
  const args = help.visibleArguments(cmd).map((arg) => [help.argumentTerm(arg), arg.description] as const);
  if (args.length > 0) sections.push(section('Arguments', args));
  const options = Map.groupBy(
    help.visibleOptions(cmd),
    (o) => o.helpGroupHeading ?? (o.long === '--help' ? OUTPUT_GROUP : 'Flags'),
  );
  const common = options.get(OUTPUT_GROUP) ?? [];
  options.delete(OUTPUT_GROUP);
  for (const [heading, list] of [...options, [OUTPUT_GROUP, common] as const]) {
    sections.push(
      section(
        heading,
        list.map((option) => [option.flags.replace(/[<>]/g, ''), describe(option)] as const),
      ),
    );
  }
  return `${sections.filter((part) => part !== '').join('\n\n')}\n`;
}

function termOf(sub: Command): string {
  const inner = sub.commands.map((c) => c.name()).join('|');
  return inner === '' ? sub.name() : `${sub.name()} ${inner}`;
}

function describe({ description, argChoices, defaultValue, negate }: Option): string {
  const choices = argChoices === undefined ? '' : ` (${argChoices.join(', ')})`;
  const shown = defaultValue === undefined || negate || Array.isArray(defaultValue) ? '' : ` [${String(defaultValue)}]`;
  return `${description}${choices}${shown}`;
}

function examples(all: CommandText['examples']): string {
  return ['Examples', ...all.flatMap(([line, what]) => [`  # ${what}`, `  ${line}`])].join('\n');
}

function section(heading: string, rows: ReadonlyArray<readonly [string, string]>): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return [heading, ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd())].join('\n');
}

/** Collects a repeatable flag; commas separate too. */
export function list(value: string, before: readonly string[] = []): string[] {
  return [...before, ...value.split(',').map((item) => item.trim())].filter((item) => item !== '');
}

/** Collects a repeatable flag whose values may hold commas. */
export function repeated(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
