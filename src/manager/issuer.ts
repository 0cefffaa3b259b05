import { createPublicKey, type KeyObject } from 'node:crypto';
import { type Clock, DAY, MINUTE } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import type { Logger } from '../base/log.ts';
import { verifyCsr } from '../pki/csr.ts';
import { issueLeaf } from '../pki/issue.ts';
import { generateKey, type KeyType, privateKeyToPem, spkiSha256 } from '../pki/keys.ts';
import { pemEncode } from '../pki/pem.ts';
import { profileOf } from '../pki/profiles.ts';
import type { AuditLog } from './audit.ts';
import type { Authority } from './ca.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';
import type { IssuedBy, ManagerMetrics } from './metrics.ts';
import { type Subject, sansOf, spiffeIdOf } from './subject.ts';

export interface IssuerOptions {
  /** What signs now. */
  readonly authority: () => Authority;
  readonly inventory: Inventory;
  readonly audit: AuditLog;
  readonly trustDomain: string;
  readonly keyType: KeyType;
  /** Milliseconds; the profile of the type decides when undefined. */
  readonly validityMs: number | undefined;
  /** Whether a key was in a certificate that was revoked: it is never certified again. */
  readonly isRevokedKey: (spkiSha256: string) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ManagerMetrics;
}

/** Who asks, for the audit log. */
export interface Caller {
  readonly actor: string;
  readonly remote?: string | undefined;
}

interface SignRequest extends Caller {
  readonly csr: string | Buffer;
  readonly subject: Subject;
  readonly by: IssuedBy;
  /** Milliseconds, in place of what holds for all. */
  readonly validityMs?: number | undefined;
  /** The pod that it is for. */
  readonly pod?: InventoryEntry['pod'] | undefined;
  /** The leaf that a renewal was asked with. */
  readonly presented?: InventoryEntry | undefined;
  /** Called when all is checked and a signature would be made: the last chance to throw. */
  readonly permit: (key: { readonly keyType: KeyType; readonly spkiSha256: string }) => Promise<void>;
}

export interface Issuer {
  /** Makes a key and a certificate for it; `kept` when both go into the store and nowhere else. */
  issueForService(
    subject: Subject,
    caller: Caller,
    kept?: boolean,
  ): Promise<{ entry: InventoryEntry; privateKey: Buffer }>;
  /**
   * Signs the key of a request, and nothing else of it. The same key for the same identity within a minute, or
   * for the same renewed leaf, gets the same certificate again: a client that lost our answer may simply repeat (a pod
   * until it asked with another key).
   * @throws SidelockError SL-CSR-001/002/003, SL-KEY-001, SL-CA-003, or what `permit` throws.
   */
  signCsr(request: SignRequest): Promise<InventoryEntry>;
}

/** How long a repeated request gets the same certificate. */
const REPEAT_MS = MINUTE;
/** Clocks are corrected in small steps; only a real jump back stops issuing. */
const CLOCK_STEP_MS = 2 * MINUTE;

interface Special extends Pick<SignRequest, 'validityMs' | 'pod'> {
  readonly kept?: boolean | undefined;
}

interface KeyToSign {
  readonly publicKey: KeyObject;
  readonly keyType: KeyType;
  readonly spkiSha256: string;
}

export function createIssuer(options: IssuerOptions): Issuer {
  const { authority, inventory, audit, trustDomain, clock, log, metrics } = options;
  const inTurn = createTurns();

  /** Everything that can be refused, before any permission is used up. */
  const check = (key: KeyToSign, subject: Subject) => {
    checkClock(authority(), inventory, clock.now());
    const { keyTypes } = profileOf(subject.type);
    if (!keyTypes.includes(key.keyType)) {
      throw new SidelockError('SL-KEY-001', `${subject.service} may not have a key of type ${key.keyType}`, {
        why: `its type ${subject.type} allows ${keyTypes.join(', ')}`,
      });
    }
    if (options.isRevokedKey(key.spkiSha256)) {
      throw new SidelockError('SL-CSR-003', `the key of the request for ${subject.service} was revoked`, {
        why: `a certificate for the key sha256:${key.spkiSha256} was revoked`,
        fix: 'make a new key',
      });
    }
    const owner = inventory.ownerOfKey(key.spkiSha256);
    if (
      authority().ownKeys.has(key.spkiSha256) ||
      (owner !== undefined && owner !== spiffeIdOf(subject, trustDomain))
    ) {
      const who = owner ?? 'the certificate authority';
      throw new SidelockError('SL-CSR-003', `the key of the request for ${subject.service} is not its own`, {
        why: `the key sha256:${key.spkiSha256} was already certified for ${who}`,
      });
    }
  };

  const sign = async (
    key: KeyToSign,
    subject: Subject,
    by: IssuedBy,
    caller: Caller,
    { kept = false, pod, validityMs: wanted }: Special = {},
  ): Promise<InventoryEntry> => {
    const started = performance.now();
    const now = clock.now();
    const { signer, chainPem } = authority();
    const profile = profileOf(subject.type);
    const validityMs = wanted ?? options.validityMs ?? profile.validityDays * DAY;
    const spiffeId = spiffeIdOf(subject, trustDomain);
    const leaf = issueLeaf({
      signer,
      publicKey: key.publicKey,
      spiffeId,
      sans: sansOf(subject, trustDomain),
      validityMs,
      now,
      eku: profile.eku,
    });
    const entry: InventoryEntry = {
      serial: leaf.serial,
      service: subject.service,
      namespace: subject.namespace,
      type: subject.type,
      spiffeId,
      sans: (leaf.sans ?? []).flatMap(({ type, value }) => (type === 'uri' ? [] : [value])),
      additionalSans: subject.additionalSans,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      keyType: key.keyType,
      spkiSha256: key.spkiSha256,
      issuedAt: now,
      by,
      fingerprint256: leaf.fingerprint256,
      pem: pemEncode('CERTIFICATE', leaf.der) + chainPem,
      ...(kept ? { kept } : {}),
      ...(pod === undefined ? {} : { pod }),
    };
    const action = by === 'renew' ? 'certificate_renewed' : 'certificate_issued';
    // The journal first: after a crash between the two there is a line too many, never a certificate without one.
    await audit.append({ action, ...caller, service: subject.service, serial: leaf.serial, result: 'ok' });
    await inventory.add(entry);
    metrics.issued(by).value++;
    metrics.issueDuration.observe((performance.now() - started) / 1000);
    const { service, serial, notAfter } = entry;
    log.info({ event: action, service, serial, notAfter, by }, `certificate for ${service}, serial ${serial}`);
    if (notAfter < now + validityMs - MINUTE) {
      log.warn({ event: 'leaf_clipped', service, notAfter }, `the certificate of ${service} ends with its issuer's`);
    }
    return entry;
  };

  return {
    async issueForService(subject, caller, kept) {
      const privateKey = await generateKey(options.keyType);
      const publicKey = createPublicKey(privateKey);
      const key = { publicKey, keyType: options.keyType, spkiSha256: spkiSha256(publicKey) };
      check(key, subject);
      const entry = await sign(key, subject, 'generate', caller, { kept });
      return { entry, privateKey: Buffer.from(privateKeyToPem(privateKey)) };
    },

    signCsr({ csr, subject, by, presented, permit, pod, validityMs, ...caller }) {
      const request = verifyCsr(csr, 'the request');
      const spiffeId = spiffeIdOf(subject, trustDomain);
      return inTurn(`${request.spkiSha256} ${spiffeId}`, async () => {
        check(request, subject);
        const known = inventory.newestForKey(request.spkiSha256, spiffeId);
        if (known !== undefined && isRepetition(known, presented, clock.now())) {
          const { service, serial } = known;
          await audit.append({ action: 'certificate_repeated', ...caller, service, serial, result: 'ok' });
          return known;
        }
        await permit(request);
        const ignored = request.requestedNames.filter((name) => name !== subject.service && name !== spiffeId);
        if (ignored.length > 0) {
          const why = ignored.join(', ').slice(0, 500);
          await audit.append({ action: 'csr_names_ignored', ...caller, service: subject.service, result: 'ok', why });
        }
        return await sign(request, subject, by, caller, { pod, validityMs });
      });
    },
  };
}

function isRepetition(known: InventoryEntry, presented: InventoryEntry | undefined, now: number): boolean {
  if (known.serial === presented?.serial || known.notAfter <= now) return false;
  // A pod has asked with another key since: this one counts no more.
  if (known.pod !== undefined && known.supersededBy !== undefined) return false;
  return known.serial === presented?.supersededBy || Math.abs(now - known.issuedAt) < REPEAT_MS;
}

/** @throws SidelockError SL-CA-003 when this clock cannot be right, or the CA is out of date. */
export function checkClock(authority: Authority, inventory: Inventory, now: number): void {
  const { notBefore, notAfter } = authority.signer.certificate;
  const at = new Date(now).toISOString();
  const fault = (why: string) =>
    new SidelockError('SL-CA-003', `${authority.name} cannot issue now`, { why: `the clock says ${at}, but ${why}` });
  if (now < inventory.newestIssuedAt - CLOCK_STEP_MS) {
    throw fault(`the newest certificate was signed ${new Date(inventory.newestIssuedAt).toISOString()}`);
  }
  if (now < notBefore || now >= notAfter || now >= authority.root.notAfter) {
    throw fault(`the CA is valid from ${new Date(notBefore).toISOString()} to ${new Date(notAfter).toISOString()}`);
  }
}
