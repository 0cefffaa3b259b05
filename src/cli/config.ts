import { Argument, type Command } from 'commander';
import { isSidelockError, type SidelockError, SidelockErrors } from '../base/errors.ts';
import { jsonSchema } from '../config/json-schema.ts';
import { KIND_NAMES, type Kind } from '../config/kinds.ts';
import { kindOf, loadConfig } from '../config/load.ts';
import { printConfig, printOrigins } from '../config/print.ts';
import { type Context, command } from './command.ts';
import { readConfigFile } from './config-file.ts';

export function configCommand(context: Context): Command {
  return command('config', {
    summary: 'check, show and describe config files',
    description: 'Works on files only; nothing is started and no manager is asked.',
    examples: [
      ['sidelock config validate config/*.yaml', 'every problem of every file, exit code 2 if there is one'],
      ['sidelock config print --origin manager.yaml', 'each value in effect and where it came from'],
      ['sidelock config schema > sidelock.schema.json', 'completion and checks in an editor'],
    ],
  })
    .addCommand(validateCommand(context))
    .addCommand(printCommand(context))
    .addCommand(schemaCommand(context));
}

function validateCommand(context: Context): Command {
  const { output } = context;
  return command('validate', {
    summary: 'report every problem at once',
    description: 'Reads each file with the MTLS_ variables of the environment, as the program would.',
    examples: [
      ['sidelock config validate manager.yaml sidecar.yaml', 'two files'],
      ['cat x.yaml | sidelock config validate -', 'standard input'],
      ['sidelock config validate -o json x.yaml', 'for a pipeline'],
    ],
  })
    .argument('<file...>', 'YAML files; - is standard input')
    .action(async (files: readonly string[]) => {
      const checked = await Promise.all(files.map((path) => check(path, context.env)));
      const problems = checked.flatMap((file) => file.problems);
      if (problems.length > 0) throw new SidelockErrors('invalid config', problems);
      const items = checked.map(({ path, kind }) => ({ file: path, kind }));
      output.result({ apiVersion: 'sidelock/v1', kind: 'ConfigList', items }, () =>
        items.map(({ file, kind }) => `${output.style('green', output.signs.ok)} ${file}: a valid ${kind}\n`).join(''),
      );
    });
}

interface Checked {
  readonly path: string;
  readonly kind?: Kind;
  readonly problems: readonly SidelockError[];
}

async function check(path: string, env: Context['env']): Promise<Checked> {
  try {
    const file = await readConfigFile(path);
    const kind = kindOf(file.text, file.name);
    loadConfig(kind, { file, env });
    return { path, kind, problems: [] };
  } catch (error) {
    if (error instanceof SidelockErrors) return { path, problems: error.errors };
    if (isSidelockError(error)) return { path, problems: [error] };
    throw error;
  }
}

function printCommand(context: Context): Command {
  const { output } = context;
  return command('print', {
    summary: 'show the config in effect',
    description: 'Defaults, file and environment together. What is printed can be loaded again.',
    examples: [
      ['sidelock config print manager.yaml', 'as YAML'],
      ['sidelock config print --origin manager.yaml', 'one line a value: file and line, variable, or default'],
      ['MTLS_CA_NAME=Test sidelock config print --origin manager.yaml', 'what a variable changes'],
    ],
  })
    .argument('<file>', 'a YAML file; - is standard input')
    .option('--origin', 'where each value came from')
    .action(async (path: string, flags: { readonly origin?: boolean }) => {
      const file = await readConfigFile(path);
      const { effective, origin } = loadConfig(kindOf(file.text, file.name), { file, env: context.env });
      output.result(effective as object, () =>
        flags.origin === true ? printOrigins(effective, origin) : printConfig(effective),
      );
    });
}

function schemaCommand({ output }: Context): Command {
  return command('schema', {
    summary: 'print the JSON Schema',
    description: 'JSON Schema (2020-12) of one kind of config file, or of all.',
    examples: [
      ['sidelock config schema > sidelock.schema.json', 'all kinds'],
      ['sidelock config schema Sidecar', 'one'],
      ['# yaml-language-server: $schema=sidelock.schema.json', 'first line of a config file, for editors'],
    ],
  })
    .addArgument(new Argument('[kind]', 'all of them unless given').choices(KIND_NAMES))
    .action((kind: Kind | undefined) => output.raw(`${JSON.stringify(jsonSchema(kind), undefined, 2)}\n`));
}
