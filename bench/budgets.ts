import type { QuantityName } from './quantities.ts';

/** Whose figure it is: the chain, and what is read from it. */
interface Subject {
  readonly peer: string;
  readonly quantity: QuantityName;
}

/** One cell of the design's table: a bound for sidelock as a ratio to peers of the same run. */
export interface RatioBudget {
  readonly work: string;
  readonly between: 'two sidelocks' | 'with others';
  readonly scenario: string;
  /** Each is compared, and the worst one counts. */
  readonly subjects: readonly Subject[];
  /** Compared with the best of these that ran, in the same quantity. */
  readonly against: readonly string[];
  readonly ratio: number;
}

const ALIKE = 'two sidelocks';
const MIXED = 'with others';
const OTHERS = ['from-ghostunnel', 'to-ghostunnel', 'to-haproxy'] as const;

/** The table of ratios, from top to bottom. */
export const RATIO_BUDGETS: readonly RatioBudget[] = [
  ...both('HTTP keep-alive, 32 connections', 'http-small', 'cpu', ['haproxy'], 0.65, 1.15),
  ...both('HTTP keep-alive, 256 connections', 'http-many', 'cpu', ['haproxy'], 0.45, 1.1),
  ...both('HTTP keep-alive, 256 connections', 'http-many', 'p99', ['haproxy'], 0.25, 1),
  own('TCP keep-alive, 32 connections', 'l4-small', 'cpu', ['haproxy'], 0.7),
  ...both('TCP keep-alive, 32 connections', 'l4-small', 'cpu', ['ghostunnel'], 0.55, 1.1),
  own('HTTP, a connection for each request', 'http-connect', 'requests', ['ghostunnel'], 40),
  {
    ...own('HTTP, a connection for each request', 'http-connect', 'requests', ['ghostunnel'], 40),
    between: MIXED,
    // ghostunnel reads no HTTP: as the client it opens a connection for each of its callers, whoever listens.
    subjects: [
      { peer: 'to-ghostunnel', quantity: 'requests' },
      { peer: 'to-haproxy', quantity: 'requests' },
    ],
  },
  own('TCP, a connection for each request', 'l4-connect', 'requests', ['ghostunnel'], 15),
  ...both('TCP, bodies of 1 MiB', 'l4-body', 'megabytes', ['haproxy', 'ghostunnel'], 0.85, 0.85),
  ...both('HTTP, bodies of 1 MiB', 'http-body', 'megabytes', ['haproxy', 'ghostunnel'], 0.85, 0.85),
  ...both('one connection', 'http-one', 'p50', ['haproxy'], 1.05, 1.05),
  // With streams there is no handshake to measure.
  {
    ...own('full handshake', 'l4-connect', 'handshakes', ['ghostunnel'], 1),
    subjects: [{ peer: 'sidelock-own', quantity: 'handshakes' }],
  },
  others('full handshake', 'l4-connect', 'handshakes', ['ghostunnel'], 1),
];

/** MB of PSS in the busier one of two sidelocks. */
export const PSS_BUDGETS = {
  idle: { work: 'PSS idle', megabytes: 40 },
  loaded: { work: 'PSS loaded', megabytes: 75, scenarios: ['l4-small', 'l4-body', 'http-small', 'http-body'] },
} as const;

type Row = [work: string, scenario: string, quantity: QuantityName, against: readonly string[]];

function both(...[work, scenario, quantity, against, ratio, toOthers]: [...Row, number, number]): RatioBudget[] {
  return [own(work, scenario, quantity, against, ratio), others(work, scenario, quantity, against, toOthers)];
}

function own(...[work, scenario, quantity, against, ratio]: [...Row, number]): RatioBudget {
  return { work, between: ALIKE, scenario, subjects: [{ peer: 'sidelock', quantity }], against, ratio };
}

/** CPU counts at the end that is ours, beside the same end of the peer. */
function others(...[work, scenario, quantity, against, ratio]: [...Row, number]): RatioBudget {
  const subjects = OTHERS.map((peer) => ({ peer, quantity: ofOneEnd(quantity, peer) }));
  return { work, between: MIXED, scenario, subjects, against, ratio };
}

function ofOneEnd(quantity: QuantityName, peer: string): QuantityName {
  if (quantity !== 'cpu' && quantity !== 'handshakes') return quantity;
  return `${quantity}${peer.startsWith('to-') ? 'Client' : 'Server'}`;
}
