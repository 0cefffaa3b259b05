import { useEffect, useState } from 'preact/hooks';
import { away, type DashboardData, type State } from './data.ts';
import { Status } from './status.tsx';

interface HeaderProps {
  readonly data: DashboardData;
  readonly connection: State['connection'];
  readonly now: number;
}

export function Header({ data, connection, now }: HeaderProps) {
  const { ca, metrics, health, alerts } = data;
  const { active, by_level } = alerts;
  return (
    <header>
      <div class="title">
        <h1>{ca.name}</h1>
        <Status status={active[0]?.level ?? 'healthy'} />
        <span class={`connection ${connection}`} role="status">
          {connection === 'live' ? 'live' : 'connection lost: these figures are old'}
        </span>
        <Theme />
      </div>
      <dl>
        <Figure name="certificates" value={metrics.total_certificates} />
        <Figure name="healthy" value={`${health.summary.health_percentage} %`} />
        <Figure name="expiring soon" value={metrics.expiring_certificates} />
        <Figure name="expired" value={metrics.expired_certificates} />
        <Figure name="next renewal" value={metrics.next_renewal === null ? 'none' : away(metrics.next_renewal, now)} />
        <Figure name="critical alerts" value={by_level.critical} />
        <Figure name="root ends in" value={away(ca.not_after, now)} />
      </dl>
    </header>
  );
}

function Figure({ name, value }: { readonly name: string; readonly value: string | number }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

const THEMES = ['system', 'light', 'dark'] as const;

/** Of this browser only: nothing of the manager depends on it. */
function Theme() {
  const [theme, setTheme] = useState(() => THEMES.find((one) => one === localStorage.getItem('theme')) ?? 'system');
  useEffect(() => {
    document.documentElement.dataset['theme'] = theme;
    localStorage.setItem('theme', theme);
  }, [theme]);
  return (
    <label class="theme">
      theme{' '}
      <select value={theme} onChange={({ currentTarget }) => setTheme(currentTarget.value as (typeof THEMES)[number])}>
        {THEMES.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
    </label>
  );
}
