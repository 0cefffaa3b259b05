import { away, type CertificateLine, type DashboardData, sorted } from './data.ts';

const DAY = 86_400_000;
/** Shown of a fleet: those that end first. */
const SHOWN = 12;

interface ExpiryProps {
  readonly buckets: DashboardData['expiry'];
  readonly lines: readonly CertificateLine[];
  readonly now: number;
}

export function Expiry({ buckets, lines, now }: ExpiryProps) {
  return (
    <section aria-labelledby="expiry">
      <h2 id="expiry">Expiry</h2>
      <Timeline lines={sorted(lines, { by: 'days_left', down: false }).slice(0, SHOWN)} now={now} />
      <Histogram buckets={buckets} />
    </section>
  );
}

const [WIDTH, NAME, ROW] = [400, 160, 22];

/** A bar from today to the end of each certificate, with a mark where it will be renewed. */
function Timeline({ lines, now }: Pick<ExpiryProps, 'lines' | 'now'>) {
  const furthest = Math.max(DAY, ...lines.map(({ not_after }) => Date.parse(not_after) - now));
  const x = (time: string) => NAME + (Math.max(0, Date.parse(time) - now) / furthest) * (WIDTH - NAME - 10);
  const spoken = lines.map(({ service, not_after }) => `${service} ${away(not_after, now)}`).join(', ');
  return (
    <svg viewBox={`0 0 ${WIDTH} ${(lines.length + 1) * ROW}`} role="img" aria-label={`Ends first: ${spoken}`}>
      <text class="axis" x={NAME} y={14}>
        today
      </text>
      <text class="axis" x={WIDTH - 10} y={14} text-anchor="end">
        {Math.round(furthest / DAY)} d
      </text>
      {lines.map((line, i) => {
        const top = (i + 1) * ROW;
        return (
          <g key={`${line.namespace}/${line.service}`}>
            <title>{`${line.service}: ends ${line.not_after}, renewal ${line.renew_at}`}</title>
            <text x={0} y={top + 14}>
              {line.service.slice(0, 24)}
            </text>
            <rect
              class={`bar ${line.status}`}
              x={NAME}
              y={top + 4}
              width={x(line.not_after) - NAME}
              height={ROW - 10}
            />
            <circle class="renewal" cx={x(line.renew_at)} cy={top + ROW / 2 - 1} r={4} />
          </g>
        );
      })}
    </svg>
  );
}

function Histogram({ buckets }: Pick<ExpiryProps, 'buckets'>) {
  return (
    <details>
      <summary>How many end when</summary>
      <table>
        <caption>Certificates by the time they have left</caption>
        <thead>
          <tr>
            <th scope="col">left</th>
            <th scope="col">certificates</th>
          </tr>
        </thead>
        <tbody>
          {buckets.map(({ within_days, certificates }) => (
            <tr key={within_days}>
              <th scope="row">{bucketName(within_days)}</th>
              <td>{certificates}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

function bucketName(days: number | null): string {
  if (days === null) return 'more';
  return days === 0 ? 'ended' : `up to ${days} d`;
}
