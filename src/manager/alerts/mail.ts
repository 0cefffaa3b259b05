import { SECOND } from '../../base/clock.ts';
import type { Alert, AlertLevel } from './alert.ts';
import type { Receiver } from './alert-manager.ts';

interface MailOptions {
  readonly level: AlertLevel;
  readonly host: string;
  readonly port: number;
  /** `starttls`: refused where the server does not offer it; `tls`: from the first byte; `off`: in the clear. */
  readonly security: 'starttls' | 'tls' | 'off';
  readonly from: string;
  readonly to: readonly string[];
  readonly user?: string | undefined;
  readonly password?: string | undefined;
}

/** One mail for all that is new at a check, so that a bad night is not a thousand of them. */
export function mailReceiver(options: MailOptions): Receiver {
  const { level, host, port, security, from, to, user, password } = options;
  return {
    name: 'mail',
    level,
    async deliver({ news }) {
      const { createTransport } = await import('nodemailer');
      const transport = createTransport({
        ...{
          host,
          port,
          secure: security === 'tls',
          requireTLS: security === 'starttls',
          ignoreTLS: security === 'off',
        },
        ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
        ...{ connectionTimeout: 10 * SECOND, greetingTimeout: 10 * SECOND, socketTimeout: 10 * SECOND },
        ...{ disableFileAccess: true, disableUrlAccess: true },
      });
      try {
        await transport.sendMail({ from, to: [...to], subject: subject(news), text: news.map(paragraph).join('\n') });
      } finally {
        transport.close();
      }
    },
  };
}

function subject([first, ...more]: readonly Alert[]): string {
  if (first === undefined) return 'sidelock';
  const others = more.length === 0 ? '' : ` and ${more.length} more`;
  return `[sidelock ${word(first)}] Certificate Alert: ${first.serviceName}${others}`;
}

function paragraph(alert: Alert): string {
  const { message, rule, startsAt, fix } = alert;
  return `${word(alert)}: ${message}\n  ${rule}, since ${new Date(startsAt).toISOString()}\n  fix: ${fix}\n`;
}

function word({ state, level }: Alert): string {
  return state === 'resolved' ? 'resolved' : level;
}
