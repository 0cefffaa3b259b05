import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { CA_FILE, CERT_FILE, KEY_FILE } from '../store/layout.ts';
import type { Context } from './command.ts';
import type { ManagerFlags } from './manager-options.ts';
import { withManager } from './with-manager.ts';

interface Wanted extends ManagerFlags {
  readonly service: string;
  readonly namespace: string;
  /** Of a certificate that is made; `api_service` unless given. */
  readonly type?: string;
  readonly sans?: readonly string[];
}

/** Certificate, key and roots of a service, in PEM; made where there are none. */
export async function certificateOf(context: Context, flags: Wanted) {
  const directory = await directoryOf(context, flags);
  const [cert, key, ca] = await Promise.all(
    [CERT_FILE, KEY_FILE, CA_FILE].map((file) => readFile(join(directory, file), 'utf8')),
  );
  if (cert === undefined || key === undefined || ca === undefined) throw unreadable(directory);
  return { cert, key, ca };
}

/** Where the files of its certificate are. */
function directoryOf(context: Context, flags: Wanted): Promise<string> {
  const { service, namespace, type = 'api_service', sans = [] } = flags;
  return withManager(context, flags, {
    create: true,
    work: async (client) => {
      const { certificates } = await client.listCertificates();
      const known = certificates.find(
        (one) => one.service === service && one.namespace === namespace && one.directory !== undefined,
      );
      if (known !== undefined && known.notAfter <= systemClock.now()) {
        throw new SidelockError('SL-CERT-001', `the certificate of ${service} expired`, {
          fix: `sidelock generate --service ${service} --namespace ${namespace} --type ${known.type}`,
        });
      }
      const { directory } = known ?? (await client.generate({ service, namespace, type, sans: [...sans] })).certificate;
      if (directory === undefined) throw unreadable(service);
      return directory;
    },
  });
}

function unreadable(what: string): SidelockError {
  return new SidelockError('SL-FS-001', `${what} holds no certificate with its key`);
}
