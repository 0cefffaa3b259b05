import { HOUR, MINUTE, SECOND } from '../base/clock.ts';
import { span } from '../pki/text.ts';
import type { InventoryEntry } from './inventory.ts';

/** Who stands against the next step, and why. */
export interface Lacking {
  readonly service: string;
  readonly namespace: string;
  /** Of its certificate; of a join token its id. */
  readonly serial: string;
  /** `sidecar` reports by itself, `files` are kept by the manager, of the rest nothing is heard. */
  readonly holder: 'sidecar' | 'files' | 'unknown' | 'token';
  readonly why: string;
  /** When it was heard of last, ms since the epoch. */
  readonly seenAt: number | undefined;
  /** When it ends by itself, ms since the epoch. */
  readonly until: number;
}

/** What is known of one certificate that can still be used. */
export interface Holding {
  readonly entry: InventoryEntry;
  /** True when a root before the one that signs vouches for it. */
  readonly old: boolean;
  /** For one that lies in the store: whether the bundle beside it is the one in force. */
  readonly files?: { readonly current: boolean } | undefined;
  /** Open connections with peers that showed a certificate under an old root, as its sidecar said last. */
  readonly oldPeers: number;
  /** When this process heard of it last, ms since the epoch. */
  readonly heardAt: number | undefined;
}

interface Asked {
  /** Hash of the bundle everybody must have. */
  readonly bundle: string;
  readonly now: number;
  readonly startedAt: number;
  /** Sidecars of which nothing was heard for this long are taken as gone. */
  readonly absentMs: number;
  /** Open connections under the old root stand against nothing: they are closed with it. */
  readonly closeConnections?: boolean | undefined;
}

/** Programs that read files are not heard: they get this long to take up what was written. */
const FILES_GRACE_MS = 2 * MINUTE;
/** After a start sidecars need this long to be heard again. */
const HEARING_MS = 30 * SECOND;
/** More than the hour after which a report that says nothing new is noted again. */
const PODS_SILENT_MS = 2 * HOUR;

/** Before the new root signs, everybody who can say so must have it. */
export function lackingBundle(holdings: readonly Holding[], asked: Asked): Lacking[] {
  return holdings.flatMap((holding) => {
    const { files, entry } = holding;
    if (files !== undefined) {
      return files.current ? [] : [lacking(holding, 'its ca.pem was not written yet')];
    }
    if (isSilent(entry) || isAbsent(holding, asked)) return [];
    return hasReported(holding, asked) ? [] : [lacking(holding, 'it has not confirmed the bundle')];
  });
}

/** Before an old root goes, nobody may need it. */
export function lackingEnd(holdings: readonly Holding[], asked: Asked): Lacking[] {
  return holdings.flatMap((holding) => {
    const { entry, files, old, oldPeers, heardAt } = holding;
    if (files === undefined && entry.by !== 'generate' && isAbsent(holding, asked)) return [];
    const why = [
      old ? 'its certificate is of the old root' : undefined,
      files !== undefined && !old && age(entry, asked) < FILES_GRACE_MS
        ? `its files were written ${span(age(entry, asked))} ago; whoever reads them gets ${span(FILES_GRACE_MS)}`
        : undefined,
      !isSilent(entry) && !old && !hasReported(holding, asked)
        ? 'it has not confirmed its certificate of the new root'
        : undefined,
      oldPeers > 0 && asked.closeConnections !== true
        ? `it has ${oldPeers} open connections made under the old root`
        : undefined,
      !isSilent(entry) &&
      hasReported(holding, asked) &&
      heardAt === undefined &&
      asked.now - asked.startedAt < HEARING_MS
        ? 'it was not heard of since the manager started'
        : undefined,
    ].filter((text) => text !== undefined);
    return why.length === 0 ? [] : [lacking(holding, why.join('; '))];
  });
}

/** Whether a certificate that the old root vouches for may still be shown by somebody who can replace it. */
export function needsOld(holdings: readonly Holding[], asked: Asked): boolean {
  return holdings.some((holding) => {
    const { files, entry, old } = holding;
    return old ? files !== undefined || entry.by !== 'generate' : !isSilent(entry) && !hasReported(holding, asked);
  });
}

function age({ issuedAt }: InventoryEntry, { now }: Asked): number {
  return Math.max(0, now - issuedAt);
}

/** Whoever holds it never talks to the manager. With kubelet it is the cluster that brings both certificate and bundle. */
export function isSilent({ by }: InventoryEntry): boolean {
  return by === 'generate' || by === 'kubelet';
}

function hasReported({ entry: { reported } }: Holding, { bundle }: Asked): boolean {
  return reported?.bundle === bundle;
}

function isAbsent(holding: Holding, { now, absentMs }: Asked): boolean {
  // Its cluster asks for the next one, and says for which pod.
  if (holding.entry.by === 'kubelet') return false;
  // A pod that is gone says nothing any more.
  const most = holding.entry.by === 'pod' ? Math.min(absentMs, PODS_SILENT_MS) : absentMs;
  return now - (seenAt(holding) ?? holding.entry.issuedAt) > most;
}

function seenAt({ entry, heardAt }: Holding): number | undefined {
  return heardAt ?? entry.reported?.at;
}

function lacking(holding: Holding, why: string): Lacking {
  const { service, namespace, serial, notAfter } = holding.entry;
  const holder = holding.files !== undefined ? 'files' : isSilent(holding.entry) ? 'unknown' : 'sidecar';
  return { service, namespace, serial, holder, why, seenAt: seenAt(holding), until: notAfter };
}
