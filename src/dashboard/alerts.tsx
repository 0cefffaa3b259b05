import { type AlertRecord, type DashboardData, minute } from './data.ts';
import { Status } from './status.tsx';

export function Alerts({ active, recent }: DashboardData['alerts']) {
  const ended = recent.filter(({ state }) => state === 'resolved');
  return (
    <section aria-labelledby="alerts">
      <h2 id="alerts">Alerts</h2>
      <ul class="alerts" aria-live="polite">
        {active.length === 0 && <li key="none">Nothing is wrong.</li>}
        {active.map((alert) => (
          <Alert key={alert.id} alert={alert} />
        ))}
      </ul>
      {ended.length > 0 && (
        <details>
          <summary>{ended.length} ended</summary>
          <ul class="alerts">
            {ended.map(({ id, starts_at, ends_at, message }) => (
              <li key={`${id} ${starts_at}`}>
                {minute(ends_at ?? starts_at)} ended: {message}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

function Alert({ alert }: { readonly alert: AlertRecord }) {
  const { level, service_name, rule, message, fix, starts_at } = alert;
  return (
    <li>
      <Status status={level} /> <strong>{service_name}</strong> {message}
      <div class="fix">
        {rule}, since {minute(starts_at)}. {fix}
      </div>
    </li>
  );
}
