import { SidelockError } from '../base/errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { AuditLog } from './audit.ts';
import { type AuthorityOptions, authorityDirectory } from './ca.ts';
import { type CaFiles, examineFiles, type ImportReport } from './ca-import.ts';
import { checkRootKey, removeRootKey, restoreRootKey } from './root-key.ts';
import type { Trust, TrustStatus } from './trust.ts';

interface RootKeyOptions {
  /** Only says what stands against it. */
  readonly dryRun?: boolean | undefined;
  /** SHA-256 of the root that the caller means: steps on trust may come between. */
  readonly root?: string | undefined;
}

export interface CaCare {
  /**
   * Makes somebody's CA the next root: staged, as one of ours would be. With `dryRun`, or when something is wrong with
   * it, only says so. @throws SL-TRUST-002 out of turn, SL-CA-005, SL-PEM-*
   */
  import(
    files: CaFiles,
    options: { readonly dryRun: boolean },
  ): Promise<ImportReport & { readonly trust: TrustStatus }>;
  /**
   * Removes the key of the root that signs: its issuer goes on. The caller has it elsewhere and has read it back.
   * @throws SL-CA-006 when nothing else could sign, or it is gone already
   */
  takeOffline(options: RootKeyOptions): Promise<TrustStatus>;
  /** Puts it back. @throws SL-CA-006 when it is of another root, or not needed */
  putOnline(keyPem: string, options: RootKeyOptions): Promise<TrustStatus>;
}

interface CaCareOptions {
  readonly trust: Pick<Trust, 'authority' | 'roots' | 'reopen' | 'status' | 'take'>;
  readonly authority: AuthorityOptions;
  readonly audit: AuditLog;
  /** Of the certificates of services, ms. */
  readonly leafMs: number;
  /** Makes what only the root can make while its key is here. */
  readonly prepare: () => Promise<unknown>;
}

export function createCaCare({ trust, authority: options, audit, leafMs, prepare }: CaCareOptions): CaCare {
  const { stateDirectory, passphrase, clock } = options;
  const note = (action: 'ca_imported' | 'ca_root_offline' | 'ca_root_online', serial: string) =>
    audit.append({ action, actor: 'operator', serial, result: 'ok' });

  return {
    async import(files, { dryRun }) {
      const known = [...trust.roots().values()];
      const { given, fit, report } = await examineFiles(files, { authority: options, leafMs, known });
      if (!fit || dryRun) {
        return { ...report, taken: false, trust: fit ? await trust.take('stage', { dryRun }) : await trust.status() };
      }
      const status = await trust.take('stage', { given });
      await note('ca_imported', given.path.at(-1)?.serial ?? '');
      return { ...report, taken: true, trust: status };
    },
    async takeOffline({ dryRun, root: meant }) {
      const { signer, rootSigner, root, number } = trust.authority();
      if (rootSigner === undefined)
        throw refused(`the key of ${root.subject} is offline already`, 'it is not in the storage');
      if (rootSigner === signer) {
        throw refused(
          `the key of ${root.subject} cannot be taken offline`,
          'it signs every certificate: there is no issuer',
          {
            fix: 'set ca.issuer to true, and let the next root follow, which has one: sidelock trust stage',
          },
        );
      }
      refuseOther(root, meant);
      if (dryRun === true) return await trust.status();
      await prepare();
      await note('ca_root_offline', root.serial);
      await trust.reopen(() => removeRootKey(authorityDirectory(stateDirectory, number), clock.now()));
      return await trust.status();
    },
    async putOnline(keyPem, { dryRun, root: meant }) {
      const { rootSigner, root, number } = trust.authority();
      if (rootSigner !== undefined)
        throw refused(`the key of ${root.subject} is here`, 'it does not have to be put back');
      refuseOther(root, meant);
      checkRootKey(keyPem, root);
      if (dryRun === true) return await trust.status();
      await note('ca_root_online', root.serial);
      await trust.reopen(() => restoreRootKey(authorityDirectory(stateDirectory, number), keyPem, passphrase));
      return await trust.status();
    },
  };
}

function refuseOther({ subject, fingerprint256 }: Certificate, meant: string | undefined): void {
  if (meant === undefined || meant === fingerprint256) return;
  throw refused(`the root that signs is ${subject}`, `another one is meant: sha256:${meant.slice(0, 16)}`);
}

function refused(message: string, why: string, more: { readonly fix?: string } = {}): SidelockError {
  return new SidelockError('SL-CA-006', message, { why, ...more });
}
