import type { Logger } from '../../base/log.ts';
import type { AlertLevel } from './alert.ts';
import type { Receiver } from './alert-manager.ts';

/** One line for each alert that begins, changes its level or is resolved. */
export function logReceiver(level: AlertLevel, log: Logger): Receiver {
  return {
    name: 'log',
    level,
    deliver({ news }) {
      for (const { state, rule, level, serviceName, namespace, message, fix } of news) {
        const line = { event: `alert_${state}`, rule, level, service: serviceName, namespace, fix };
        if (state === 'resolved') log.info(line, `resolved: ${message}`);
        else log[LOG_LEVEL[level]](line, message);
      }
    },
  };
}

const LOG_LEVEL = { info: 'info', warning: 'warn', error: 'error', critical: 'error' } as const;
