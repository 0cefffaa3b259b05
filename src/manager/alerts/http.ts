import { type Clock, type Random, SECOND } from '../../base/clock.ts';
import { backoffDelay } from '../../base/retry.ts';
import type { Alert, AlertLevel } from './alert.ts';
import type { Receiver } from './alert-manager.ts';

interface HttpReceiver {
  /** http or https. */
  readonly url: string;
  readonly level: AlertLevel;
  readonly clock: Clock;
  readonly random: Random;
}

/** POSTs `{version: 1, alerts: […]}` with what is new, as JSON. Any answer of 2xx is taken as told. */
export function webhookReceiver({ level, ...to }: HttpReceiver): Receiver {
  return {
    name: 'webhook',
    level,
    deliver: ({ news }, signal) => post(to, { version: 1, alerts: news.map(alertDocument) }, signal),
  };
}

/**
 * Tells an Alertmanager by its v2 API; `url` is its base. What fires is repeated at each check with an end a bit later
 * than the next one, so that an alert of a manager that is gone ends by itself.
 */
export function alertmanagerReceiver({
  level,
  everyMs,
  url,
  ...to
}: HttpReceiver & { readonly everyMs: number }): Receiver {
  const target = { ...to, url: `${url.replace(/\/$/, '')}/api/v2/alerts` };
  return {
    name: 'alertmanager',
    level,
    repeats: true,
    deliver({ news, firing }, signal) {
      const until = to.clock.now() + 3 * everyMs;
      const resolved = news.filter(({ state }) => state === 'resolved');
      const alerts = [...firing, ...resolved].map(({ endsAt = until, ...alert }) => ({
        labels: {
          alertname: alert.rule,
          severity: alert.level,
          service: alert.serviceName,
          namespace: alert.namespace,
          source: 'sidelock',
        },
        annotations: { summary: alert.message, fix: alert.fix },
        startsAt: iso(alert.startsAt),
        endsAt: iso(endsAt),
      }));
      return post(target, alerts, signal);
    },
  };
}

/** As JSON has it: times in RFC 3339. */
function alertDocument({ startsAt, endsAt, ...alert }: Alert): object {
  return { ...alert, startsAt: iso(startsAt), ...(endsAt === undefined ? {} : { endsAt: iso(endsAt) }) };
}

const TRIES = 3;
const TRY_MS = 5 * SECOND;

async function post(
  { url, clock, random }: Omit<HttpReceiver, 'level'>,
  body: object,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'sidelock' },
        body: JSON.stringify(body),
        redirect: 'error',
        signal: AbortSignal.any([signal, AbortSignal.timeout(TRY_MS)]),
      });
      await answer.body?.cancel();
      if (answer.ok) return;
      throw new RangeError(`${new URL(url).host} answered status ${answer.status}`);
    } catch (error) {
      if (signal.aborted || attempt + 1 === TRIES) throw error;
      await clock.sleep(backoffDelay(attempt, { min: SECOND, max: 4 * SECOND }, random), signal);
    }
  }
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
