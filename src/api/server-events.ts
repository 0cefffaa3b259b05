import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Clock, SECOND } from '../base/clock.ts';
import { isAbort, SidelockError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { DashboardData } from '../manager/dashboard-data.ts';
import type { Monitoring } from '../manager/monitor.ts';

export interface EventsOptions {
  readonly monitoring: Pick<Monitoring, 'getDashboardData'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

interface Told {
  readonly id: string;
  readonly text: string;
}

/** How often the data is looked at while somebody listens, and a line goes out so that nothing in between gives up. */
const LOOK_MS = SECOND;
const BEAT = 10;
const MAX_LISTENERS = 16;

/** Server-sent events (HTML, 9.2): `dashboard` with the data, whenever it says something new. */
export function createEvents({ monitoring, clock, log, signal }: EventsOptions) {
  const listeners = new Set<ServerResponse>();
  let told: Told | undefined;
  let looking = false;

  const look = async () => {
    const next = eventOf(await monitoring.getDashboardData());
    if (next.id === told?.id) return false;
    told = next;
    for (const listener of listeners) listener.write(next.text);
    return true;
  };
  const keepLooking = async () => {
    try {
      for (let quiet = 0; listeners.size > 0; quiet++) {
        await clock.sleep(LOOK_MS, signal);
        if (await look()) quiet = 0;
        else if (quiet % BEAT === 0) for (const listener of listeners) listener.write(':\n\n');
      }
    } catch (err) {
      if (!isAbort(err)) log.error({ event: 'events_failed', err }, 'the dashboard could not be kept up to date');
      for (const listener of listeners) listener.end();
    } finally {
      looking = false;
    }
  };
  return {
    /** Answers at once with what there is, unless the browser says that it has that, then with each change. */
    async serve(request: FastifyRequest, reply: FastifyReply): Promise<void> {
      if (listeners.size >= MAX_LISTENERS) {
        throw new SidelockError('SL-API-003', `${MAX_LISTENERS} pages are open already`, { fix: 'close some' });
      }
      await look();
      reply.headers({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      const { raw } = reply.hijack();
      for (const [name, value] of Object.entries(reply.getHeaders()))
        if (value !== undefined) raw.setHeader(name, value);
      listeners.add(raw);
      raw.once('close', () => listeners.delete(raw));
      raw.on('error', () => {});
      if (told !== undefined && request.headers['last-event-id'] !== told.id) raw.write(told.text);
      else raw.write(':\n\n');
      if (looking) return;
      looking = true;
      void keepLooking();
    },
  };
}

/** The moment of asking alone is nothing new, nor is a percentile. */
function eventOf(data: DashboardData): Told {
  const { generated_at: _now, performance: _timings, ...said } = data;
  const id = createHash('sha256').update(JSON.stringify(said)).digest('base64url').slice(0, 16);
  return { id, text: `event: dashboard\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n` };
}
