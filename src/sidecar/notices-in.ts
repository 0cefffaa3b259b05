import type { Notice } from '../api/wire-news.ts';
import { type Clock, MINUTE } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import type { RefusalReason } from '../pki/peer-reasons.ts';
import { span, utc } from '../pki/text.ts';
import { shortName } from './authorize.ts';
import type { DataPlaneMetrics, Direction } from './metrics.ts';
import type { Refusals } from './refusals.ts';

/** A peer that refused us, as `/connections` shows it beside the connections there are. */
interface RefusedByPeer {
  readonly direction: Direction;
  readonly peer: { readonly id: string };
  readonly self: { readonly id: string; readonly serial: string };
  /** ms since the epoch, by our clock. */
  readonly since: number;
  readonly refused: { readonly reason: RefusalReason; readonly code: ErrorCode; readonly why: string };
}

/** What peers refused of us, as the manager passed it on. */
export interface NoticesIn {
  /** Of the certificate that `shown` is. */
  received(notices: readonly Notice[], shown: IdentityMaterial): void;
  /** Of the last minutes. */
  recent(): readonly RefusedByPeer[];
}

interface NoticesInOptions {
  readonly refusals: Refusals;
  readonly metrics: Pick<DataPlaneMetrics, 'refusedByPeer'>;
  readonly clock: Clock;
  readonly trustDomain: string;
  readonly namespace: string;
}

const SHOWN = 10 * MINUTE;
const MAX_SHOWN = 64;

export function createNoticesIn({ refusals, metrics, clock, ...home }: NoticesInOptions): NoticesIn {
  const shownLately = new Map<string, RefusedByPeer>();

  const tell = ({ by, role, reason, serial, at }: Notice, { leaf, spiffeId }: IdentityMaterial) => {
    const now = clock.now();
    const direction = role === 'client' ? 'outbound' : 'inbound';
    metrics.refusedByPeer.with({ direction, reason }).value++;
    const { code, fix, why } = explainNotice({ reason, at }, leaf, now);
    const key = `${by} ${role} ${reason}`;
    shownLately.delete(key);
    shownLately.set(key, {
      direction,
      peer: { id: by },
      self: { id: spiffeId.uri, serial },
      since: now,
      refused: { reason, code, why },
    });
    const [oldest] = shownLately.keys();
    if (shownLately.size > MAX_SHOWN && oldest !== undefined) shownLately.delete(oldest);
    refusals.warn(
      `refused by ${key}`,
      { event: 'refused_by_peer', reason, code, direction, peer: { id: by }, self: { id: spiffeId.uri, serial }, fix },
      `${shortName(by, home)} refused our certificate: ${why}`,
    );
  };

  return {
    received(notices, shown) {
      for (const notice of notices) tell(notice, shown);
    },
    recent() {
      for (const [key, { since }] of shownLately) if (clock.now() - since >= SHOWN) shownLately.delete(key);
      return [...shownLately.values()];
    },
  };
}

/** A notice in words, for the holder of `leaf`; `now` is our clock, ms since the epoch. */
export function explainNotice({ reason, at }: Pick<Notice, 'reason' | 'at'>, leaf: Facts['leaf'], now: number) {
  const { code, fix, text } = pageOf(reason);
  return { code, fix, why: text({ leaf, at, now }) };
}

/** Ours, and both clocks, ms since the epoch: `at` is what theirs said. */
interface Facts {
  readonly leaf: Pick<Certificate, 'notBefore' | 'notAfter'>;
  readonly at: number;
  readonly now: number;
}

interface Page {
  readonly code: ErrorCode;
  readonly fix: string;
  readonly text: (facts: Facts) => string;
}

const CODE = 'SL-TLS-011';

const EXPIRED: Page = {
  code: CODE,
  fix: 'look at our renewals (/readyz, sidelock_renewals_total), and compare both clocks',
  text({ leaf: { notAfter }, at, now }) {
    const ended = at >= notAfter ? `expired ${span(at - notAfter)} ago` : `expired at ${utc(notAfter)}`;
    return now >= notAfter ? ended : `${ended} by its clock; ours says it has ${span(notAfter - now)} left`;
  },
};

const NOT_YET: Page = {
  code: CODE,
  fix: 'compare both clocks: timedatectl set-ntp true',
  text: ({ leaf: { notBefore }, at }) => `it is valid from ${utc(notBefore)}, and its clock says ${utc(at)}`,
};

const UNKNOWN = page(CODE, 'its bundle does not hold our root', 'compare bundleKeyIds of both (/identity)');

const PAGES: Partial<Record<RefusalReason, Page>> = {
  expired: EXPIRED,
  not_yet_valid: NOT_YET,
  revoked: page(CODE, 'it is revoked', 'if it should not be: sidelock token create SERVICE, for a new identity'),
  issuer_expired: page(CODE, 'the certificate of our issuer expired', 'renew that of the CA, then ours'),
  unknown_ca: UNKNOWN,
  self_signed: UNKNOWN,
  chain_incomplete: UNKNOWN,
  other_trust_domain: page(CODE, 'it is of another trust domain', 'give both sides the same trustDomain'),
  wrong_identity: page('SL-TLS-006', 'it expected somebody else here', 'correct expect or address of its outbound'),
  not_allowed: page('SL-AUTHZ-001', 'its allow list does not name us', 'add us to allow of its inbound'),
};

function pageOf(reason: RefusalReason): Page {
  return (
    PAGES[reason] ??
    page(CODE, `it breaks the rule ${reason}`, 'issue it again with sidelock; the log of the peer has the details')
  );
}

function page(code: ErrorCode, sentence: string, fix: string): Page {
  return { code, fix, text: () => sentence };
}
