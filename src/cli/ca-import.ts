import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { CaImportAnswer } from '../api/wire-ca.ts';
import { DAY, systemClock } from '../base/clock.ts';
import { nodeCode, SidelockError } from '../base/errors.ts';
import type { ManagerConfig } from '../config/manager.ts';
import { privateKeyFromPem, privateKeyToPem } from '../pki/keys.ts';
import { profileOf } from '../pki/profiles.ts';
import { STATE_DIR } from '../store/layout.ts';
import { type Context, command } from './command.ts';
import { confirmed, refuseSilence } from './confirm.ts';
import { printable } from './failure.ts';
import { createLogging } from './logging.ts';
import { loadManagerConfig, type ManagerFlags, readSecret } from './manager-options.ts';
import { day } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface ImportFlags extends ManagerFlags {
  readonly cert: string;
  readonly key: string;
  readonly chain?: string;
  readonly keyPassphraseFile?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

type Report = Omit<CaImportAnswer, 'trust'> & { readonly trust?: CaImportAnswer['trust'] };

export function importCommand(context: Context): Command {
  const made = command('import', {
    summary: 'take over a CA that exists, after saying what is wrong with it',
    description:
      'Judges the CA as peers and other programs would, and issues a certificate on trial. Where no manager has run yet it becomes the CA of the storage. Elsewhere it becomes the next root, staged beside the one that signs: sidelock trust activate lets it sign when all have confirmed it. An intermediate is taken with --chain up to its root, whose key is not needed.',
    examples: [
      ['sidelock ca import --cert ca.pem --key ca.key --dry-run', 'what is wrong with it'],
      ['sidelock ca import --cert ca.pem --key ca.key --storage ./pki', 'the CA of a new storage'],
      [
        'sidelock ca import --cert issuing.pem --key issuing.key --chain root.pem --yes',
        'an intermediate, by a script',
      ],
    ],
  })
    .optionsGroup('The CA')
    .requiredOption('--cert <FILE>', 'its certificate, PEM')
    .requiredOption('--key <FILE>', 'its private key, PEM')
    .option('--chain <FILE>', 'its issuers up to the root, PEM')
    .option('--key-passphrase-file <FILE>', 'first line: the passphrase of the key')
    .option('--dry-run', 'only say what is wrong')
    .option('--yes', 'do not ask');
  return addStorageFlags(made).action(async (flags: ImportFlags) => {
    const config = await loadManagerConfig(context, flags);
    const files = readFiles(flags);
    const state = join(config.storage.path, STATE_DIR);
    const first = !['ca', 'trust.json'].some((name) => existsSync(join(state, name)));
    const run = (dryRun: boolean): Promise<Report> =>
      first ? importIntoNew(context, config, { files, dryRun }) : importBeside(context, flags, { ...files, dryRun });
    let report = await run(true);
    const wrong = report.findings.some(({ level }) => level === 'error');
    if (!wrong && flags.dryRun !== true) {
      const unless = 'the CA was not taken';
      if (flags.yes !== true) {
        show(context, report, first);
        refuseSilence(unless);
        if (!(await confirmed(question(report, first)))) {
          context.exitCode = 1;
          return context.output.note(unless);
        }
      }
      report = await run(false);
    }
    if (wrong) context.exitCode = 1;
    result(context, report, first);
  });
}

interface Files {
  readonly certificate: string;
  readonly key: string;
  readonly chain?: string | undefined;
}

function readFiles({ cert, key: keyFile, chain, keyPassphraseFile }: ImportFlags): Files {
  const passphrase = keyPassphraseFile === undefined ? undefined : readSecret(keyPassphraseFile, 'passphrase');
  const key = privateKeyToPem(privateKeyFromPem(read(keyFile), keyFile, passphrase));
  return { certificate: read(cert), key, ...(chain === undefined ? {} : { chain: read(chain) }) };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (cause) {
    throw new SidelockError('SL-FS-001', `cannot read ${path}`, { why: nodeCode(cause), cause });
  }
}

interface Task {
  readonly files: Files;
  readonly dryRun: boolean;
}

async function importIntoNew({ output }: Context, config: ManagerConfig, { files, dryRun }: Task): Promise<Report> {
  const { importFirst } = await import('../manager/ca-import.ts');
  const { storage, ca, certificates, trustDomain } = config;
  const report = await importFirst(
    files,
    {
      leafMs: certificates.validity ?? profileOf('api_service').validityDays * DAY,
      authority: {
        ...{ stateDirectory: join(storage.path, STATE_DIR), name: ca.name, keySize: ca.keySize, issuer: ca.issuer },
        passphrase: ca.passphraseFile === undefined ? undefined : readSecret(ca.passphraseFile, 'passphrase'),
        ...{ validityYears: ca.validityYears, trustDomain, dnsDomains: certificates.allowedSans, clock: systemClock },
        log: createLogging(output, { level: 'warn' }),
        onProgress: output.progress.tell,
      },
    },
    { dryRun },
  );
  return { ...report, findings: [...report.findings], path: [...report.path], leaf: leafOf(report.leaf) };
}

function leafOf(leaf: ({ readonly sans: readonly string[] } & Omit<NonNullable<Report['leaf']>, 'sans'>) | undefined) {
  return leaf === undefined ? undefined : { ...leaf, sans: [...leaf.sans] };
}

async function importBeside(context: Context, flags: ManagerFlags, request: Files & { dryRun: boolean }) {
  return await withManager(context, flags, { work: (client) => client.importCa(request) });
}

function question({ trust }: Report, first: boolean): string {
  const count = trust?.sidecars.total ?? 0;
  return first
    ? 'It becomes the CA of this storage. Take it?'
    : `It is staged as the next root, and spread to ${count} sidecars. Take it?`;
}

function result(context: Context, report: Report, first: boolean): void {
  const { findings, path, leaf, taken, trust } = report;
  const time = (ms: number) => new Date(ms).toISOString();
  context.output.result(
    {
      ...{ apiVersion: 'sidelock/v1', kind: 'CaImportResult', taken, findings },
      path: path.map((one) => ({ ...one, notAfter: time(one.notAfter) })),
      leaf: leaf && { ...leaf, notAfter: time(leaf.notAfter) },
      phase: trust?.phase,
    },
    () => text(context, report, first),
  );
}

/** What is about to be taken, for the person who is asked. */
function show(context: Context, report: Report, first: boolean): void {
  context.output.note(text(context, report, first));
}

function text({ output }: Context, { findings, path, leaf, taken }: Report, first: boolean): string {
  const wrong = findings.some(({ level }) => level === 'error');
  const next = first
    ? 'sidelock manager   runs on it'
    : 'sidelock trust status   says who has confirmed it; then sidelock trust activate';
  return [
    ...path.map(
      ({ subject, notAfter, sha256 }, i) =>
        `${i === 0 ? 'CA    ' : '  of  '}${printable(subject)}, until ${day(notAfter)}, sha256:${sha256.slice(0, 16)}\n`,
    ),
    ...findings.map(({ code, level, what, fix }) => {
      const sign =
        level === 'error' ? output.style('red', output.signs.fail) : output.style('yellow', output.signs.warn);
      return `${sign} ${code}  ${printable(what)}\n    fix  ${fix}\n`;
    }),
    leaf === undefined
      ? ''
      : `trial ${printable(leaf.subject)}, ${leaf.sans.length} names (${leaf.sans.map(printable).join(', ')}), until ${day(leaf.notAfter)}: peers take it\n`,
    taken
      ? `${output.style('green', output.signs.ok)} taken${first ? '' : ' as the next root'}\n  next  ${next}\n`
      : '',
    !taken && wrong ? 'nothing was changed\n' : '',
  ].join('');
}
