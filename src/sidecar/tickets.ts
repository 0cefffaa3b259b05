import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import { type Clock, HOUR, SECOND } from '../base/clock.ts';
import type { IdentityMaterial } from '../pki/material.ts';

/** What an hour's tickets are made with. */
export interface TicketSecret {
  /** Hours since the epoch. */
  readonly hour: number;
  readonly secret: Uint8Array;
}

/** For a server context: whoever shows a ticket that was made with others does a whole handshake. */
export interface TicketOptions {
  readonly sessionIdContext: string;
  readonly ticketKeys: Buffer;
  /** s */
  readonly sessionTimeout: number;
}

/** The keys of session tickets: in memory only, the same in every thread, and another one each hour. */
export interface Tickets {
  current(): TicketSecret;
  /** Takes what another thread has. */
  repeat(secret: TicketSecret): void;
  /**
   * Those of a server with this identity and trust, `bound` to all that may decide about a caller: whatever of it
   * changes, no ticket from before is good.
   */
  of(material: IdentityMaterial, bound: readonly string[]): { readonly id: string; options(): TicketOptions };
}

/** Hours. */
const FAR = 10_000;

export function createTickets(clock: Clock): Tickets {
  const hour = () => Math.floor(clock.now() / HOUR);
  let held: TicketSecret = { hour: hour(), secret: randomBytes(32) };
  /** One way: what is in memory now does not open what was sent before. */
  const current = () => {
    const now = hour();
    // A clock that was wrong by years costs no loop of years.
    if (now - held.hour > FAR) held = { hour: now, secret: randomBytes(32) };
    while (held.hour < now) held = { hour: held.hour + 1, secret: derive(held.secret, 'next', 32) };
    return held;
  };
  return {
    current,
    repeat(secret) {
      held = secret;
    },
    of({ leaf, bundle }, bound) {
      const { hour: since, secret } = current();
      const all = JSON.stringify([leaf.fingerprint256, bundle.sha256, since, ...bound]);
      const id = createHash('sha256').update(all).digest('hex');
      return {
        id,
        options: () => ({
          // OpenSSL takes 32 bytes.
          sessionIdContext: id.slice(0, 32),
          ticketKeys: derive(secret, id, 48),
          sessionTimeout: HOUR / SECOND,
        }),
      };
    },
  };
}

function derive(secret: Uint8Array, info: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'sidelock tickets', info, length));
}
