/**
 * A command whose program ends when this process does, and be it killed: what stays of a test that was broken off keeps
 * ports and memory. Where there is no Linux, the program alone.
 */
export function attached(program: string, args: readonly string[]): readonly [string, readonly string[]] {
  return process.platform === 'linux' ? ['setpriv', ['--pdeathsig', 'KILL', program, ...args]] : [program, args];
}
