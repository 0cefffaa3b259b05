import { readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ERROR_PAGES } from '../../src/base/errors.ts';
import { CHECKS } from '../../src/cli/check/finding.ts';
import { packageVersion } from '../../src/cli/version.ts';
import { printManifests } from '../../src/config/print.ts';
import { installDefaults, installManifests } from '../../src/kubernetes/manifests.ts';
import { integrationManifests } from '../../src/kubernetes/manifests-integration.ts';
import { CA_FINDINGS } from '../../src/pki/ca-findings.ts';
import { clientTable } from './reference/clients.ts';
import { commandHelp, commandTable, commonFlags } from './reference/commands.ts';
import { configKeys } from './reference/config-keys.ts';
import { h2specTable } from './reference/h2spec.ts';
import { metricsTable } from './reference/metrics.ts';
import { table } from './reference/table.ts';
import { threatsTable } from './reference/threats.ts';

/** Generated parts of the documents, by the name in their markers. `npm run docs` writes them. */
const PARTS: Readonly<Record<string, () => string>> = {
  clients: clientTable,
  'command-help': commandHelp,
  commands: commandTable,
  'common-flags': commonFlags,
  'config-manager': () => configKeys('Manager'),
  'config-sidecar': () => configKeys('Sidecar'),
  'config-webhook': () => configKeys('Webhook'),
  'error-codes': errorCodes,
  checks: () =>
    table(
      ['check', 'what it asks'],
      Object.entries(CHECKS).map(([id, what]) => [`\`${id}\``, what]),
    ),
  'ca-findings': caFindings,
  h2spec: h2specTable,
  layers: () => rules('layer-', 'layer'),
  metrics: metricsTable,
  packages: () => rules('package-', 'package'),
  threats: threatsTable,
};

/** Files that are generated as a whole. */
export const FILES: Readonly<Record<string, () => string>> = {
  'k8s/install.yaml': () =>
    `# What \`sidelock install\` prints with its defaults; \`npm run docs\` writes it.\n${printManifests(installManifests(installDefaults(packageVersion())))}`,
  'k8s/integration/roles.yaml': () =>
    `# What \`sidelock install --integrate shop\` adds; \`npm run docs\` writes it.\n${printManifests(integrationManifests(['shop'], 'sidelock-system'))}`,
};

export const root = join(import.meta.dirname, '../..');
const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' });

/** Every document that is ours. */
export const DOCUMENTS = [
  ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'],
  ...['bench/README.md', 'docker/README.md', 'k8s/README.md'],
  ...docs.filter((path) => path.endsWith('.md')).map((path) => `docs/${path}`),
];

/** The documents that have such parts. */
export const GENERATED = DOCUMENTS.filter((path) =>
  readFileSync(join(root, path), 'utf8').includes('<!-- generated: '),
);

/** `text` with every marked part written anew. A marker without a known name throws. */
export function generate(text: string): string {
  return text.replace(/<!-- generated: (\S+) -->\n.*?<!-- end -->/gs, (_, name: string) => {
    const part = PARTS[name];
    if (part === undefined) throw new RangeError(`no generated part is called ${name}`);
    return `<!-- generated: ${name} -->\n${part()}<!-- end -->`;
  });
}

function errorCodes(): string {
  const rows = Object.entries(ERROR_PAGES).map(([code, { title, fix }]) => [`\`${code}\``, title, fix]);
  return table(['code', 'what it says', 'what to do'], rows);
}

function caFindings(): string {
  const rows = Object.entries(CA_FINDINGS).map(([code, { level, fix }]) => [`\`${code}\``, level, fix]);
  return table(['code', 'level', 'what to do'], rows);
}

/** The sentences of the rules whose name begins with `prefix`. */
function rules(prefix: string, title: string): string {
  const { forbidden }: { forbidden: ReadonlyArray<{ name: string; comment: string }> } = createRequire(import.meta.url)(
    '../architecture/rules.cjs',
  );
  const rows = forbidden
    .filter(({ name }) => name.startsWith(prefix))
    .map(({ name, comment }) => [`\`${name.slice(prefix.length)}\``, comment]);
  return table([title, 'rule'], rows);
}

if (import.meta.main) {
  for (const [name, content] of Object.entries(FILES)) await writeFile(join(root, name), content());
  for (const name of GENERATED) {
    const path = join(root, name);
    await writeFile(path, generate(await readFile(path, 'utf8')));
  }
}
