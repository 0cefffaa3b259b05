import type { Metrics } from '../base/metrics.ts';
import { ALERT_LEVELS, type Alert } from './alerts/alert.ts';
import { healthSummary } from './dashboard-data.ts';
import type { Health } from './health.ts';

interface MonitorMetrics {
  checked(health: Health): void;
  alerts(active: readonly Alert[]): void;
  delivered(result: 'ok' | 'failed'): void;
}

export function createMonitorMetrics(metrics: Metrics): MonitorMetrics {
  const readErrors = metrics
    .gauge('x509_read_errors', 'Certificates of the store that cannot be read, or do not fit together.')
    .with({});
  const checks = metrics.counter('sidelock_health_checks_total', 'Checks of all certificates.').with({});
  const checkedAt = metrics
    .gauge('sidelock_health_check_timestamp_seconds', 'When the last check began, Unix time.')
    .with({});
  const services = metrics.gauge('sidelock_services', 'Services with a certificate, by what the last check found.', [
    'health',
  ]);
  const alerts = metrics.gauge('sidelock_alerts', 'Alerts that fire now.', ['level']);
  const delivered = metrics.counter('sidelock_alert_deliveries_total', 'Batches of alerts given to a receiver.', [
    'result',
  ]);
  for (const level of ALERT_LEVELS) alerts.with({ level });
  for (const health of ['healthy', 'unhealthy']) services.with({ health });
  for (const result of ['ok', 'failed']) delivered.with({ result });

  return {
    checked(health) {
      const { healthy_services, unhealthy_services } = healthSummary(health);
      checks.value++;
      checkedAt.value = health.checkedAt / 1000;
      readErrors.value = health.readErrors;
      services.with({ health: 'healthy' }).value = healthy_services;
      services.with({ health: 'unhealthy' }).value = unhealthy_services;
    },
    alerts(active) {
      for (const level of ALERT_LEVELS) alerts.with({ level }).value = active.filter((a) => a.level === level).length;
    },
    delivered: (result) => {
      delivered.with({ result }).value++;
    },
  };
}
