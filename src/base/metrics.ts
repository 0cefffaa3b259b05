import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client';
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

/** The metrics of one process. Tests make a fresh one; nothing is global. */
export interface Metrics {
  counter(name: string, help: string, labels?: readonly string[]): Family<Cell>;
  gauge(name: string, help: string, labels?: readonly string[]): Family<Cell>;
  histogram(name: string, help: string, buckets: readonly number[], labels?: readonly string[]): Family<HistogramCell>;
  /** Runs before each scrape, to set gauges from current state. */
  onScrape(refresh: () => void): void;
  readonly contentType: string;
  /** The text exposition format. */
  render(): Promise<string>;
}

export function createMetrics(options: { readonly processMetrics?: boolean } = {}): Metrics {
  const registry = new Registry();
  const refreshers: Array<() => void> = [];
  if (options.processMetrics === true) collectDefaultMetrics({ register: registry });

  return {
    counter(name, help, labels = []) {
      return numberFamily(labels, (collect) => {
        const metric = new Counter({ name, help, labelNames: [...labels], registers: [registry], collect });
        return { set: (l, v) => metric.inc(l, v), reset: () => metric.reset() };
      });
    },
    gauge(name, help, labels = []) {
      return numberFamily(labels, (collect) => {
        const metric = new Gauge({ name, help, labelNames: [...labels], registers: [registry], collect });
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
    contentType: registry.contentType,
    render() {
      for (const refresh of refreshers) refresh();
      return registry.metrics();
    },
  };
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
