import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client';
import { droppedLines } from './bounded-sink.ts';
import { HistogramCounts } from './histogram.ts';

type Labels = Readonly<Record<string, string>>;

/** A plain number that the hot path adds to; copied into the registry only when it is scraped. */
export interface Cell {
  value: number;
}

export interface HistogramCell {
  /** Observes one value in the unit of the metric's name. */
  observe(value: number): void;
}

/** A family of cells, one per set of label values. Label values come from closed sets only. */
export interface Family<C> {
  with(labels: Labels): C;
  /** Forgets every cell; for families that are rebuilt from current state. */
  reset(): void;
}

/** How the values of a gauge in several threads become one. */
type Across = 'sum' | 'max';

/** Every metric of one thread at one moment; can be posted to another. */
export type MetricsSnapshot = readonly FamilySnapshot[];

interface FamilySnapshot {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly values: readonly ValueSnapshot[];
}

interface ValueSnapshot {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  /** Of a part of a histogram. */
  readonly metricName?: string;
}

/** The metrics of one process. Tests make a fresh one; nothing is global. */
export interface Metrics {
  counter(name: string, help: string, labels?: readonly string[]): Family<Cell>;
  /** Over several threads it is summed, unless `across` says otherwise. */
  gauge(name: string, help: string, labels?: readonly string[], across?: Across): Family<Cell>;
  histogram(name: string, help: string, buckets: readonly number[], labels?: readonly string[]): Family<HistogramCell>;
  /** Runs before each scrape, to set gauges from current state. */
  onScrape(refresh: () => void): void;
  /** What `render` adds: the metrics of other threads, asked for at each scrape. */
  include(others: () => Promise<readonly MetricsSnapshot[]>): void;
  /** What was counted here alone. */
  snapshot(): Promise<MetricsSnapshot>;
  readonly contentType: string;
  /** The text exposition format. */
  render(): Promise<string>;
}

export function createMetrics(options: { readonly processMetrics?: boolean } = {}): Metrics {
  const registry = new Registry();
  const refreshers: Array<() => void> = [];
  let include: (() => Promise<readonly MetricsSnapshot[]>) | undefined;
  const snapshot = async (): Promise<MetricsSnapshot> => {
    for (const refresh of refreshers) refresh();
    // As it is, and not as it is declared: types are words, parts of histograms have their names.
    return (await registry.getMetricsAsJSON()) as unknown as MetricsSnapshot;
  };

  const made: Metrics = {
    counter(name, help, labels = []) {
      return numberFamily(labels, (collect) => {
        const metric = new Counter({ name, help, labelNames: [...labels], registers: [registry], collect });
        return { set: (l, v) => metric.inc(l, v), reset: () => metric.reset() };
      });
    },
    gauge(name, help, labels = [], aggregator = 'sum') {
      return numberFamily(labels, (collect) => {
        const metric = new Gauge({ name, help, labelNames: [...labels], registers: [registry], aggregator, collect });
        return { set: (l, v) => metric.set(l, v), reset: () => metric.reset() };
      });
    },
    histogram(name, help, buckets, labels = []) {
      const cells = new Cells(labels, () => new HistogramCounts(buckets));
      const get = async () => ({
        ...{ name, help, type: 'histogram', aggregator: 'sum' },
        values: [...cells].flatMap(({ labels: l, cell }) => cell.values(name, l)),
      });
      // Its own observes with a hash of its labels and a check of each: a request's time would cost half of its parsing.
      registry.registerMetric({ name, get } as unknown as Metric);
      return cells;
    },
    onScrape(refresh) {
      refreshers.push(refresh);
    },
    include(others) {
      include = others;
    },
    snapshot,
    contentType: registry.contentType,
    async render() {
      if (include !== undefined) return await textOf(summed([await snapshot(), ...(await include())]));
      for (const refresh of refreshers) refresh();
      return await registry.metrics();
    },
  };
  if (options.processMetrics === true) {
    collectDefaultMetrics({ register: registry });
    const lost = made
      .counter('sidelock_log_lines_dropped_total', 'Lines of the log whose reader was too slow.')
      .with({});
    made.onScrape(() => {
      lost.value = droppedLines();
    });
  }
  return made;
}

/** Each series once: counters and histograms added up, gauges as they were declared. */
function summed(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  const families = new Map<string, { family: FamilySnapshot; series: Map<string, ValueSnapshot> }>();
  for (const family of snapshots.flat()) {
    const { name, aggregator, values } = family;
    const known = families.get(name) ?? { family, series: new Map() };
    families.set(name, known);
    for (const one of values) {
      const key = JSON.stringify([one.metricName, Object.entries(one.labels).sort(([a], [b]) => (a < b ? -1 : 1))]);
      const before = known.series.get(key)?.value;
      const value =
        before === undefined ? one.value : aggregator === 'max' ? Math.max(before, one.value) : before + one.value;
      known.series.set(key, { ...one, value });
    }
  }
  return [...families.values()].map(({ family, series }) => ({ ...family, values: [...series.values()] }));
}

/** What stays true of threads that are gone: what they counted, not what they had. */
export function pastOf(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  return summed(snapshots.map((snapshot) => snapshot.filter(({ type }) => type !== 'gauge')));
}

async function textOf(families: MetricsSnapshot): Promise<string> {
  const registry = new Registry();
  for (const family of families) registry.registerMetric({ ...family, get: async () => family } as unknown as Counter);
  return await registry.metrics();
}

function numberFamily(
  labels: readonly string[],
  create: (collect: () => void) => { set(labels: Labels, value: number): void; reset(): void },
): Family<Cell> {
  const cells = new Cells(labels, (): Cell => ({ value: 0 }));
  const metric = create(() => {
    metric.reset();
    for (const { labels: l, cell } of cells) metric.set(l, cell.value);
  });
  return cells;
}

/** The cells of one family, by the values of its labels. */
class Cells<C> implements Family<C> {
  readonly #names: readonly string[];
  readonly #create: () => C;
  readonly #cells = new Map<string, { readonly labels: Labels; readonly cell: C }>();

  constructor(names: readonly string[], create: () => C) {
    this.#names = names;
    this.#create = create;
  }

  with(labels: Labels): C {
    const key = this.#names.map((name) => labels[name] ?? '').join('\u0000');
    let entry = this.#cells.get(key);
    if (entry === undefined) {
      entry = { labels, cell: this.#create() };
      this.#cells.set(key, entry);
    }
    return entry.cell;
  }

  reset(): void {
    this.#cells.clear();
  }

  [Symbol.iterator]() {
    return this.#cells.values();
  }
}
