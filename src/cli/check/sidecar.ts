import type { CertificateRecord } from '../../api/wire.ts';
import type { IdentityShown, PlaintextAnswer } from '../../api/wire-sidecar.ts';
import { tokenCommand } from '../../base/commands.ts';
import { roughly } from '../table.ts';
import { type Finding, fault, ok, orOk } from './finding.ts';

export interface SidecarFacts {
  readonly address: string;
  /** Why there was no answer. */
  readonly silent?: string | undefined;
  readonly blockers: ReadonlyArray<{ readonly name: string; readonly why: string }>;
  readonly identity: IdentityShown | undefined;
  readonly plaintext: PlaintextAnswer | undefined;
  /** Metrics without labels. */
  readonly metrics: ReadonlyMap<string, number>;
  /** What the manager of this machine issued for it last, and the hash of the bundle in force. */
  readonly issued: { readonly certificate: CertificateRecord | undefined; readonly bundle: string } | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

const SOON = 0.25;
const CRITICAL = 0.1;
const SKEW_S = { warning: 5, error: 60 };

/** One sidecar, as its admin port tells. */
export function checkSidecar(facts: SidecarFacts): Finding[] {
  const { address, silent } = facts;
  if (silent !== undefined) {
    const remedy = { why: silent, fix: 'start it, or give its admin.listen by --admin' };
    return [fault('sidecar.answers', 'error', `no sidecar answers on ${address}`, remedy)];
  }
  const findings = [
    ok('sidecar.answers', address),
    ready(facts),
    identity(facts),
    served(facts),
    manager(facts),
    clock(facts),
    crl(facts),
    reload(facts),
  ];
  return [...findings.filter((found) => found !== undefined), ...plaintext(facts)];
}

function ready({ blockers }: SidecarFacts): Finding {
  if (blockers.length === 0) return ok('sidecar.ready', 'it is ready');
  const why = blockers.map(({ name, why }) => `${name}: ${why}`).join('; ');
  return fault('sidecar.ready', 'error', 'it is not ready', {
    why,
    fix: 'correct what stands against it; its log says more',
  });
}

function identity({ identity, now }: SidecarFacts): Finding | undefined {
  if (identity === undefined) return undefined;
  const [begin, end] = [Date.parse(identity.notBefore), Date.parse(identity.notAfter)];
  const summary = `${identity.spiffeId} ${end > now ? `ends in ${roughly(end - now)}` : `ended ${roughly(now - end)} ago`}`;
  const share = (end - now) / (end - begin);
  if (share >= SOON) return ok('sidecar.identity', summary);
  const remedy = { why: 'it was not renewed in time', fix: 'look at its log for renewal_failed' };
  return fault('sidecar.identity', share < CRITICAL ? 'error' : 'warning', summary, remedy);
}

function served({ identity, issued }: SidecarFacts): Finding | undefined {
  if (identity === undefined || issued?.certificate === undefined) return undefined;
  const { serial, revokedAt } = issued.certificate;
  if (revokedAt !== undefined) {
    const remedy = { why: `serial ${serial} is revoked`, fix: tokenCommand(issued.certificate) };
    return fault('sidecar.served', 'error', 'its certificate is revoked', remedy);
  }
  if (serial !== identity.serial) {
    const why = `it serves serial ${identity.serial}, issued last was ${serial}`;
    return fault('sidecar.served', 'warning', 'it does not serve what was issued last', {
      why,
      fix: 'look at its log; another sidecar may have the same name',
    });
  }
  if (issued.bundle !== identity.trustGeneration) {
    const why = `it has ${identity.trustGeneration.slice(0, 12)}, in force is ${issued.bundle.slice(0, 12)}`;
    return fault('sidecar.served', 'warning', 'it serves with another trust bundle', {
      why,
      fix: 'look at its log for trust_changed',
    });
  }
  return ok('sidecar.served', 'it serves what the manager issued');
}

function manager({ metrics }: SidecarFacts): Finding | undefined {
  const up = metrics.get('sidelock_manager_up');
  if (up === undefined) return undefined;
  if (up === 1) return ok('sidecar.manager', 'it reaches its manager');
  const why = 'the last question to it had no answer; it serves with what it has until its certificate ends';
  return fault('sidecar.manager', 'error', 'it does not reach its manager', {
    why,
    fix: 'look whether the manager runs, and at its log for renewal_failed',
  });
}

function clock({ metrics }: SidecarFacts): Finding | undefined {
  const skew = metrics.get('sidelock_clock_skew_seconds');
  if (skew === undefined) return undefined;
  const summary = `its clock is ${Math.abs(skew).toFixed(0)} s ${skew < 0 ? 'behind' : 'ahead of'} that of the manager`;
  if (Math.abs(skew) < SKEW_S.warning) return ok('sidecar.clock', 'its clock agrees with that of the manager');
  const why = 'certificates seem to begin later, or end sooner, than they do';
  return fault('sidecar.clock', Math.abs(skew) < SKEW_S.error ? 'warning' : 'error', summary, {
    why,
    fix: 'timedatectl set-ntp true, on both',
  });
}

function crl({ metrics, now }: SidecarFacts): Finding | undefined {
  const next = metrics.get('x509_crl_next_update');
  if (next === undefined) return undefined;
  const left = next * 1000 - now;
  const number = metrics.get('sidelock_crl_number');
  if (left > 0) return ok('sidecar.crl', `revocation list ${number}, the next is due in ${roughly(left)}`);
  return fault('sidecar.crl', 'error', `revocation list ${number} is out of date for ${roughly(left)}`, {
    why: 'what was revoked since is let in',
    fix: 'look at its log for crl_failed, and whether it reaches its manager',
  });
}

const RELOADS = {
  sidelock_last_reload_successful: 'identity',
  sidelock_config_last_reload_successful: 'config',
} as const;

function reload({ metrics }: SidecarFacts): Finding | undefined {
  const bad = Object.entries(RELOADS).filter(([name]) => metrics.get(name) === 0);
  if (bad.length === 0) return ok('sidecar.reload', 'it serves what is on disk');
  const what = bad.map(([, what]) => what).join(' and ');
  return fault('sidecar.reload', 'error', `the ${what} on disk was refused`, {
    why: 'the one before stays in force',
    fix: 'its log says what is wrong with it',
  });
}

function plaintext({ plaintext }: SidecarFacts): readonly Finding[] {
  if (plaintext === undefined) return [];
  const found = plaintext.permissive.map(({ listener, callers, open, other }) => {
    const calls = callers.reduce((sum, { connections }) => sum + connections, other.connections);
    const who = callers
      .slice(0, 3)
      .map(({ address }) => address)
      .join(', ');
    const why = calls === 0 ? 'none came since it started' : `${calls} connections, ${open} open now, from ${who}`;
    const fix =
      calls === 0
        ? 'sidelock migrate   says when mode: strict is safe'
        : 'sidelock migrate   names them; give them a sidecar, then mode: strict';
    return fault('sidecar.plaintext', 'warning', `${listener} takes callers without TLS`, { why, fix });
  });
  return orOk(found, 'sidecar.plaintext', `${plaintext.strict.length} listeners, all strict`);
}
