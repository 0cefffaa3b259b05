import { systemClock, systemRandom } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { ManagerConfig } from '../config/manager.ts';
import type { Receiver } from '../manager/alerts/alert-manager.ts';
import { readSecret } from './manager-options.ts';

/** The ways out for alerts that the config names. */
export async function alertReceivers(
  config: ManagerConfig['monitoring'],
  { log }: { readonly log: Logger },
): Promise<Receiver[]> {
  const [{ alertmanagerReceiver, webhookReceiver }, { logReceiver }, { mailReceiver }] = await Promise.all([
    import('../manager/alerts/http.ts'),
    import('../manager/alerts/log.ts'),
    import('../manager/alerts/mail.ts'),
  ]);
  const { webhook, alertmanager, mail } = config;
  const by = { clock: systemClock, random: systemRandom };
  const receivers: Receiver[] = [];
  if (config.log !== 'off') receivers.push(logReceiver(config.log, log));
  if (webhook !== undefined && webhook.level !== 'off') {
    receivers.push(webhookReceiver({ ...by, url: webhook.url, level: webhook.level }));
  }
  if (alertmanager !== undefined && alertmanager.level !== 'off') {
    const { url, level } = alertmanager;
    receivers.push(alertmanagerReceiver({ ...by, url, level, everyMs: config.healthCheckInterval }));
  }
  if (mail !== undefined && mail.level !== 'off') {
    const { server, passwordFile, level, ...rest } = mail;
    const password = passwordFile === undefined ? undefined : readSecret(passwordFile, 'password');
    receivers.push(mailReceiver({ ...rest, level, host: server.host, port: server.port, password }));
  }
  return receivers;
}
