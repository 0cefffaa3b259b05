import { duration, megabytes, number } from './format.ts';
import type { Protocol } from './peers/peer.ts';
import { type QuantityName, valuesOf } from './quantities.ts';
import { loadedPss } from './report.ts';
import type { Measured, Result } from './results.ts';
import { median } from './statistics.ts';

interface Column {
  readonly load: string;
  readonly title: string;
  readonly cell: (result: Result) => string;
}

const COLUMNS: readonly Column[] = [
  { load: 'small', title: '32 conns, small', cell: cpu },
  { load: '1k', title: '32 conns, 1 KiB', cell: cpu },
  { load: 'many', title: '256 conns, small: CPU; req/s; p99', cell: manyOf },
  { load: 'one', title: '1 conn, p50', cell: (r) => duration(middle(r, 'p50')) },
  {
    load: 'connect',
    title: 'a connection each request: req/s; CPU',
    cell: (r) => `${number(middle(r, 'requests'))}; ${cpu(r)}`,
  },
  { load: 'body', title: '1 MiB bodies: MB/s; CPU', cell: (r) => `${number(middle(r, 'megabytes'))}; ${cpu(r)}` },
  {
    load: 'body',
    title: 'PSS then, MB',
    cell: (r) => `${megabytes(loadedPss(r).server)}/${megabytes(loadedPss(r).client)}`,
  },
];

/** A row for each peer, a column for each load that ran; CPU is microseconds a request, server end/client end. */
export function summaryRows(protocol: Protocol, measured: readonly Measured[]): string[][] {
  const prefix = protocol === 'tcp' ? 'l4' : 'http';
  const columns = COLUMNS.flatMap(({ load, ...column }) => {
    const found = measured.find(({ scenario }) => scenario === `${prefix}-${load}`);
    return found === undefined ? [] : [{ ...column, results: found.results }];
  });
  const peers = [...new Set(columns.flatMap(({ results }) => results.map(({ peer }) => peer)))];
  if (peers.length === 0) return [];
  const rows = peers.map((peer) => [
    peer,
    ...columns.map(({ results, cell }) => {
      const result = results.find((r) => r.peer === peer);
      return result === undefined ? '-' : cell(result);
    }),
  ]);
  return [[protocol === 'tcp' ? 'TCP' : 'HTTP', ...columns.map(({ title }) => title)], ...rows];
}

function manyOf(result: Result): string {
  return `${cpu(result)}; ${number(middle(result, 'requests'))}; ${duration(middle(result, 'p99'))}`;
}

function cpu(result: Result): string {
  return `${number(middle(result, 'cpuServer'))}/${number(middle(result, 'cpuClient'))}`;
}

function middle(result: Result, name: QuantityName): number {
  return median(valuesOf(result, name));
}
