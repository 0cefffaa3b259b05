import type { Clock } from '../base/clock.ts';
import { tokenCommand } from '../base/commands.ts';
import { isSidelockError, SidelockError } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import type { Logger } from '../base/log.ts';
import type { AuditEvent, AuditLog } from './audit.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';
import type { Issuer } from './issuer.ts';
import type { ManagerMetrics } from './metrics.ts';
import { type ProvenLeaf, refuseWeakerKey } from './renewal-proof.ts';
import type { Subject } from './subject.ts';
import type { Entitlement, Tokens } from './tokens.ts';

interface ProofOptions {
  readonly tokens: Tokens;
  readonly inventory: Inventory;
  readonly audit: AuditLog;
  /** Who the holder of a certificate is. @throws SidelockError SL-API-002, SL-CERT-001 */
  readonly prove: (chain: readonly Buffer[]) => ProvenLeaf;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ManagerMetrics;
}

/** A request that a proof comes with. */
export interface Asked {
  /** DER or PEM. */
  readonly csr: string | Buffer;
  /** Address of the caller. */
  readonly remote: string;
}

/** What whoever proved something gets: a certificate of this issuer, with these names. */
interface Grant {
  readonly issuer: Issuer;
  readonly subject: Subject;
}

interface Renewing {
  readonly proven: ProvenLeaf;
  /** What is on record of the leaf. */
  readonly presented: InventoryEntry | undefined;
}

/** Certificates of services and of devices alike, for a token and for a leaf; each `grant` throws what it refuses. */
export interface ByProof {
  /** Does `work`; a refusal becomes a line of the audit log before it reaches the caller. */
  audited<T>(who: Pick<AuditEvent, 'actor' | 'remote' | 'service' | 'serial'>, work: () => T | Promise<T>): Promise<T>;
  /** @throws SidelockError SL-TOK-001..003, SL-CSR-*, SL-KEY-001, SL-CA-003 */
  byToken(
    asked: Asked & { readonly token: string; readonly service?: string | undefined },
    grant: (entitled: Entitlement) => Grant | Promise<Grant>,
  ): Promise<InventoryEntry>;
  /** @throws SidelockError SL-API-002, SL-CERT-001, SL-CSR-*, SL-KEY-001, SL-CA-003 */
  byLeaf(
    asked: Asked & { readonly chain: readonly Buffer[] },
    grant: (renewing: Renewing) => Grant | Promise<Grant>,
  ): Promise<InventoryEntry>;
}

/** The one way from a proof to a certificate. Uses of one leaf come one after the other, whatever door they come by. */
export function createByProof(options: ProofOptions): ByProof {
  const { tokens, inventory, audit, prove, clock, log, metrics } = options;
  const inTurn = createTurns();

  const audited: ByProof['audited'] = async (who, work) => {
    try {
      return await work();
    } catch (error) {
      if (isSidelockError(error)) {
        const action = /^SL-(?:TOK|POD)-/.test(error.code) ? 'token_refused' : 'certificate_refused';
        if (error.code.startsWith('SL-TOK-')) metrics.token('refused').value++;
        log.warn({ event: action, ...who, code: error.code, why: error.why }, error.message);
        await audit.append({ action, ...who, result: 'refused', why: error.code });
      }
      throw error;
    }
  };

  /** Whether this leaf may be used once more, and a note in the audit log when that is out of the ordinary. */
  const permitReuse = async (
    entry: InventoryEntry | undefined,
    { leaf, service, spiffeId, expired }: ProvenLeaf,
    remote: string,
  ) => {
    const reused = entry?.supersededBy !== undefined;
    if (reused && (expired || entry.reusedAt !== undefined)) {
      throw new SidelockError('SL-API-002', `serial ${leaf.serial} of ${service} was already renewed`, {
        why: `it was renewed to serial ${entry.supersededBy}; if that was not this service, somebody else has its key`,
        fix: `look at the audit log, then: ${tokenCommand(entry)}`,
      });
    }
    if (!reused && !expired) return;
    const why = reused ? `it was already renewed to ${entry.supersededBy}` : 'it is expired, within the grace';
    log.warn({ event: 'leaf_reused', service, serial: leaf.serial }, `renewal of ${service} by an old leaf: ${why}`);
    const who = { actor: spiffeId.uri, remote, service, serial: leaf.serial };
    await audit.append({ action: 'leaf_reused', ...who, result: 'ok', why });
  };

  return {
    audited,

    async byToken({ token, csr, remote, service }, grant) {
      const entitled = await audited({ actor: 'token', remote, service }, () => tokens.check(token));
      const { claims } = entitled;
      const who = { actor: `token:${claims.id.slice(0, 8)}`, remote, service: claims.sub };
      return await audited(who, async () => {
        const { issuer, subject } = await grant(entitled);
        return await issuer.signCsr({
          ...{ csr, subject, by: 'token', actor: who.actor, remote },
          async permit({ spkiSha256 }) {
            await tokens.consume(claims, { spkiSha256, remote });
            await audit.append({ action: 'token_used', ...who, result: 'ok' });
          },
        });
      });
    },

    async byLeaf({ chain, csr, remote }, grant) {
      const proven = await audited({ actor: 'nobody', remote }, () => prove(chain));
      const { leaf, spiffeId, service } = proven;
      const who = { actor: spiffeId.uri, remote, service, serial: leaf.serial };
      return await inTurn(leaf.serial, () =>
        audited(who, async () => {
          const presented = inventory.get(leaf.serial);
          const { issuer, subject } = await grant({ proven, presented });
          const entry = await issuer.signCsr({
            ...{ csr, subject, by: 'renew', presented, actor: who.actor, remote },
            async permit({ keyType }) {
              if (leaf.keyType !== undefined) refuseWeakerKey(leaf.keyType, keyType, service);
              await permitReuse(presented, proven, remote);
            },
          });
          if (entry.serial !== presented?.supersededBy)
            await inventory.supersede(leaf.serial, entry.serial, clock.now());
          return entry;
        }),
      );
    },
  };
}
