import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { DashboardData } from './data.ts';
import { Scroll } from './scroll.tsx';

type Props = Pick<DashboardData, 'performance' | 'history'>;

const ROWS = [
  ['certificate_load', 'certificate load'],
  ['ssl_context', 'TLS context'],
  ['validation', 'validation'],
  ['health_check', 'health check'],
] as const;

export function Performance({ performance, history }: Props) {
  return (
    <section aria-labelledby="performance" class="wide">
      <h2 id="performance">Performance</h2>
      {history.length > 1 && <Chart history={history} />}
      <Scroll label="table of timings">
        <table>
          <caption>Of the manager, in milliseconds</caption>
          <thead>
            <tr>
              <th scope="col">what</th>
              <th scope="col">p50</th>
              <th scope="col">p95</th>
              <th scope="col">p99</th>
              <th scope="col">times</th>
            </tr>
          </thead>
          <tbody>
            {ROWS.map(([key, name]) => {
              const { p50_ms, p95_ms, p99_ms, count } = performance[key];
              return (
                <tr key={key}>
                  <th scope="row">{name}</th>
                  <td>{p50_ms}</td>
                  <td>{p95_ms}</td>
                  <td>{p99_ms}</td>
                  <td>{count}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

/** The 95th percentiles over time: what the table below says now. */
function Chart({ history }: Pick<Props, 'history'>) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(undefined);
  const data: uPlot.AlignedData = [
    history.map(({ at }) => Date.parse(at) / 1000),
    history.map((point) => point.load_p95_ms),
    history.map((point) => point.context_p95_ms),
    history.map((point) => point.validation_p95_ms),
  ];
  useEffect(() => {
    if (place.current === null) return undefined;
    const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim() || 'gray';
    const axis = { stroke: () => colour('--faint'), grid: { stroke: () => colour('--line') } };
    const series = (label: string, name: string) => ({ label, stroke: () => colour(name), width: 2 });
    const drawn = new uPlot(
      {
        width: place.current.clientWidth,
        height: 180,
        series: [{}, series('load', '--one'), series('context', '--two'), series('validation', '--three')],
        axes: [axis, { ...axis, label: 'p95, ms' }],
      },
      data,
      place.current,
    );
    chart.current = drawn;
    const resized = new ResizeObserver(() => {
      drawn.setSize({ width: place.current?.clientWidth ?? 600, height: 180 });
    });
    resized.observe(place.current);
    return () => {
      resized.disconnect();
      drawn.destroy();
    };
  }, []);
  useEffect(() => chart.current?.setData(data));
  return <div class="chart" ref={place} role="img" aria-label="95th percentiles over time" />;
}
