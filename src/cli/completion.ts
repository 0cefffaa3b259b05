import { Argument, type Command } from 'commander';
import { type Context, command } from './command.ts';

type Shell = 'bash' | 'zsh' | 'fish';

/** One command as a shell completes it: the words that lead to it, and what may follow. */
interface Node {
  /** Empty for the program itself. */
  readonly path: string;
  readonly words: readonly string[];
  readonly flags: readonly string[];
}

export function completionCommand(context: Context): Command {
  return command('completion', {
    summary: 'commands and flags for the Tab key',
    description: 'Prints a script for your shell, made from the commands of this version.',
    examples: [
      ['source <(sidelock completion bash)', 'in ~/.bashrc'],
      ['sidelock completion zsh > ~/.zfunc/_sidelock', 'once, in a directory of fpath'],
      ['sidelock completion fish > ~/.config/fish/completions/sidelock.fish', 'once'],
    ],
  })
    .addArgument(new Argument('<shell>', 'which').choices(['bash', 'zsh', 'fish']))
    .action((shell: Shell, _flags: unknown, self: Command) => {
      context.output.raw(SCRIPTS[shell](nodesOf(self.parent ?? self, '')));
    });
}

function nodesOf(from: Command, path: string): Node[] {
  const words = from.commands.map((sub) => sub.name());
  const flags = from.options.flatMap(({ long, hidden }) =>
    long === undefined || long === null || hidden ? [] : [long],
  );
  const own = { path, words, flags: [...flags, '--help'] };
  return [own, ...from.commands.flatMap((sub) => nodesOf(sub, path === '' ? sub.name() : `${path} ${sub.name()}`))];
}

const bash = (nodes: readonly Node[]) => `# sidelock completion bash
_sidelock() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${path:+$path }\${COMP_WORDS[i]}" in
${nodes.flatMap(({ path }) => (path === '' ? [] : [`      '${path}') path='${path}' ;;\n`])).join('')}    esac
  done
  case "$path" in
${nodes.map(({ path, words, flags }) => `    '${path}') COMPREPLY=($(compgen -W '${[...words, ...flags].join(' ')}' -- "$cur")) ;;\n`).join('')}  esac
  [[ \${#COMPREPLY[@]} -gt 0 || $cur == -* ]] || COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _sidelock sidelock
`;

const zsh = (nodes: readonly Node[]) => `#compdef sidelock
autoload -U +X bashcompinit && bashcompinit
${bash(nodes)}`;

const fish = (nodes: readonly Node[]) => `# sidelock completion fish
function __sidelock_at
  set -l path
  set -l words (commandline -opc)
  for word in $words[2..]
    contains -- (string join ' ' $path $word) ${nodes.map(({ path }) => `'${path}'`).join(' ')}; and set -a path $word
  end
  test (string join ' ' -- $path) = "$argv[1]"
end
${nodes
  .flatMap(({ path, words, flags }) => [
    ...words.map((word) => `complete -c sidelock -n "__sidelock_at '${path}'" -a ${word}\n`),
    ...flags.map((flag) => `complete -c sidelock -n "__sidelock_at '${path}'" -l ${flag.slice(2)}\n`),
  ])
  .join('')}`;

const SCRIPTS: Readonly<Record<Shell, (nodes: readonly Node[]) => string>> = { bash, zsh, fish };
