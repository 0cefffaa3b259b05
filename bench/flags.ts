import { parseArgs } from 'node:util';
import { CURVES } from './curves.ts';
import { GROWTH_PEERS, isInstalled, PEERS, QUICK_PEERS } from './peers/all.ts';
import type { Peer } from './peers/peer.ts';
import { QUICK_SCENARIOS, SCENARIOS } from './scenarios.ts';

export interface Flags {
  /** Curves over connections and body sizes, instead of scenarios. */
  readonly growth: boolean;
  /** Names of what is measured. */
  readonly only: readonly string[];
  readonly peers: readonly Peer[];
  readonly runs: number;
  readonly seconds: number;
  readonly quick: boolean;
  readonly json: boolean;
  readonly readme: boolean;
}

/** What to do: measure, or print a text and end with a code. */
export type Request = Flags | { readonly text: string; readonly exitCode: 0 | 2 };

/** The name under which all figures of the guide are asked for. */
export const FIGURES = 'figures';

const USAGE = `npm run bench -- [flags]

Measures the figures of the guide, and sidelock beside the proxies that are installed.

  --only NAMES     these alone, separated by commas; --list has the names
  --peers NAMES    these alone, separated by commas
  --runs N         rounds over the peers, 3 unless given
  --seconds N      length of the window in which one load is measured, 2 unless given
  --quick          one short round of a few scenarios: a smoke test of a minute, its figures mean little
  --growth         1 to 1,024 connections and bodies of 1 to 64 KiB instead: where the curves bend
  --readme         also put tables and chart into bench/README.md
  --json           print the results as JSON instead of tables
  --list           print the names for --only and --peers
  --help           print this

Tables, a chart and all figures go to bench/results. Ends with 1, and says why, when a target of the guide is missed, when
a proxy answers nothing, fails more than 1 request in 1,000 or changes a byte. A missed budget of the design is only told.
`;

export function readFlags(args: readonly string[]): Request {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        only: { type: 'string' },
        peers: { type: 'string' },
        runs: { type: 'string' },
        seconds: { type: 'string' },
        quick: { type: 'boolean', default: false },
        growth: { type: 'boolean', default: false },
        readme: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) return { text: USAGE, exitCode: 0 };
    if (values.list) return { text: list(), exitCode: 0 };
    const { growth, quick, readme, json } = values;
    const all = growth ? CURVES.map((c) => c.name) : [FIGURES, ...SCENARIOS.map((s) => s.name)];
    const few = growth ? all : [FIGURES, ...QUICK_SCENARIOS];
    const usual = growth ? GROWTH_PEERS : quick ? QUICK_PEERS : PEERS.map((p) => p.name);
    return {
      growth,
      only: names('--only', values.only, all, quick ? few : all),
      peers: names(
        '--peers',
        values.peers,
        PEERS.map((p) => p.name),
        usual,
      ).flatMap((name) => PEERS.filter((p) => p.name === name)),
      runs: count('--runs', values.runs, quick ? 1 : 3, 50),
      seconds: count('--seconds', values.seconds, quick ? 1 : 2, 60),
      quick,
      readme,
      json,
    };
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof RangeError)) throw error;
    return { text: `${error.message}\n\n${USAGE}`, exitCode: 2 };
  }
}

function names(
  flag: string,
  given: string | undefined,
  known: readonly string[],
  usual: readonly string[],
): readonly string[] {
  const asked = given?.split(',') ?? usual;
  const wrong = asked.find((name) => !known.includes(name));
  if (wrong !== undefined) throw new RangeError(`${flag} ${wrong}: expected some of ${known.join(', ')}`);
  return asked;
}

function count(flag: string, given: string | undefined, usual: number, most: number): number {
  const n = Number(given ?? usual);
  if (!Number.isInteger(n) || n < 1 || n > most) throw new RangeError(`${flag} ${given}: expected 1 to ${most}`);
  return n;
}

function list(): string {
  const section = (title: string, rows: ReadonlyArray<readonly [string, string]>) =>
    `${title}\n${rows.map(([name, text]) => `  ${name.padEnd(18)}${text}\n`).join('')}`;
  return [
    section('--only', [
      [FIGURES, 'loading, context, validation, generation, start'],
      ...SCENARIOS.map(({ name, title }) => [name, title] as const),
    ]),
    section(
      '--growth --only',
      CURVES.map(({ name, title }) => [name, title]),
    ),
    section(
      '--peers',
      PEERS.map((peer) => [peer.name, about(peer)]),
    ),
  ].join('\n');
}

function about(peer: Peer): string {
  if (!isInstalled(peer)) return 'not installed';
  const reads = peer.protocols.map((protocol) => (protocol === 'tcp' ? 'l4' : protocol)).join(', ');
  return peer.client === peer.server ? `${reads}: ${peer.client.version()}` : `${reads}: one end of each`;
}
