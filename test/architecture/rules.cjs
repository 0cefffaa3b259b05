/**
 * The layer table of the design as dependency-cruiser rules. Each `comment` is the sentence a reviewer would write.
 * fixture/ breaks each rule once, and layers.test.ts proves that each fires there and nowhere in src/.
 */

/** Which layers, or files of them, each layer may import besides itself. `cli` may import every layer. */
const LAYERS = {
  base: { may: [], why: 'base knows nothing of certificates: it imports nothing of ours' },
  config: { may: ['base'], why: 'config is schemas and defaults: it may import base only' },
  pki: { may: ['base/errors'], why: 'pki is pure, bytes in and values out: of ours it may import base/errors only' },
  store: { may: ['base', 'pki'], why: 'store keeps what pki made: it may import base and pki' },
  manager: { may: ['base', 'pki', 'store'], why: 'manager decides over pki and store: it knows no API and no sidecar' },
  devices: { may: ['base', 'pki'], why: 'devices turns certificates into files: it may import base and pki' },
  api: {
    may: ['base', 'pki', 'manager', 'devices'],
    why: 'api carries the manager to its callers: it may import base, pki and, in its server, manager and devices',
  },
  sidecar: {
    may: ['base', 'pki', 'store/(watch|generation|layout)', 'api/(client|wire|token)'],
    why: 'the sidecar is small and holds no CA: of store only watch, generation and layout, of api only client, wire and token',
  },
  kubernetes: {
    may: ['base', 'pki', 'store', 'manager'],
    why: 'kubernetes keeps and watches what the manager decides: it may import base, pki, store and types of manager',
  },
  dashboard: {
    may: ['manager'],
    why: 'dashboard runs in a browser: of ours it may know the types of manager, and nothing else',
  },
  library: {
    may: ['base', 'pki', 'store', 'manager', 'sidecar', 'kubernetes'],
    why: 'library is what other programs import: it puts layers together for them, and none of ours needs it',
  },
};

/** Which files may import a package. A package without a line here may be imported by none. */
const PACKAGES = {
  '@kubernetes/client-node': {
    only: 'kubernetes/client',
    why: 'the API server is asked through kubernetes/client, which loads this package when it is needed and gives its failures our codes',
  },
  chokidar: { only: 'store/watch', why: 'watching has traps: they are closed off once, in store/watch' },
  commander: { only: 'cli/', why: 'only the command line parses arguments' },
  fastify: {
    only: '(api/server|library/fastify)',
    why: 'only the API server may load the HTTP framework; the sidecar must stay small',
  },
  'node-forge': {
    only: 'pki/',
    why: 'node-forge assembles ASN.1 for pki and nothing else; it never signs or verifies',
  },
  nodemailer: { only: 'manager/alerts/', why: 'only alerts are sent by mail, from manager/alerts' },
  pino: { only: 'base/log', why: 'log lines pass the redaction of base/log: take its Logger as an option' },
  preact: { only: 'dashboard/', why: 'only the page renders anything' },
  'prom-client': { only: 'base/metrics', why: 'metrics are cells of base/metrics: take its Metrics as an option' },
  uplot: { only: 'dashboard/', why: 'only the page draws charts' },
  undici: {
    only: '(api/client|library/dispatcher)',
    why: 'HTTP calls go through api/client or library/dispatcher, which set timeouts, limits and trust',
  },
  yaml: { only: 'config/', why: 'only config reads YAML, so that every error has its line and column' },
  zod: { only: '(config/|api/wire)', why: 'outside input is parsed at the edge: in config and in api/wire' },
};

const ROOTS = '^src/index[.]ts$';
const known = `^src/(${[...Object.keys(LAYERS), 'cli'].join('|')})/`;
const ours = (path) => `^src/${path}([./-]|$)`;
const npm = (name) => `(^|/)node_modules/(@types/)?${name}/`;
const rule = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

// Who may import config and cli is told by their own rules below, so that one mistake has one name.
const layers = Object.entries(LAYERS).map(([layer, { may, why }]) =>
  rule(
    `layer-${layer}`,
    why,
    { path: `^src/${layer}/` },
    { path: '^src/', pathNot: [`^src/${layer}/`, '^src/(cli|config)/', ...may.map(ours)] },
  ),
);

const packages = Object.entries(PACKAGES).map(([name, { only, why }]) =>
  rule(`package-${name}`, why, { path: '^src/', pathNot: `^src/${only}` }, { path: npm(name) }),
);

const others = [
  rule(
    'only-cli-imports-config',
    'the config object never travels: take a small options type and let cli fill it from config',
    { path: '^src/', pathNot: '^src/(cli|config)/' },
    { path: '^src/config/' },
  ),
  rule(
    'nobody-imports-cli',
    'cli holds the composition roots: move what you need down into a layer',
    { path: '^src/', pathNot: '^src/cli/' },
    { path: '^src/cli/' },
  ),
  rule(
    'only-server-imports-manager',
    'wire, client and token are loaded by sidecars: only the API server may reach the manager and devices',
    { path: '^src/api/', pathNot: '^src/api/(server|est)[./-]' },
    { path: '^src/(manager|devices)/' },
  ),
  rule(
    'only-types-of-manager',
    'kubernetes and dashboard are handed what a manager has: import its types, never its code',
    { path: '^src/(kubernetes|dashboard)/' },
    { path: '^src/manager/', dependencyTypesNot: ['type-only'] },
  ),
  rule(
    'no-builtins-in-pki',
    'pki is pure: of Node it may use node:crypto, node:buffer, and node:net for isIP',
    { path: '^src/pki/' },
    { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|buffer|net)$' },
  ),
  rule(
    'sidecar-never-signs',
    'a sidecar asks for certificates and makes none: what issues them is not even loaded beside an app',
    { path: '^src/sidecar/' },
    { path: '^src/pki/issue[.]ts$', reachable: true },
  ),
  rule(
    'peers-judged-natively',
    'what a stranger sends is read by our strict reader and node:crypto: node-forge never sees it',
    { path: '^src/pki/(peer|chain|certificate|bundle)[.-]' },
    { path: npm('node-forge'), reachable: true },
  ),
  rule(
    'known-layer',
    'each file of src/ belongs to a layer of the table in test/architecture/rules.cjs: add a row or move the file',
    { path: '^src/', pathNot: [known, ROOTS] },
    {},
  ),
  rule(
    'listed-package',
    'each package has one reason and its files: give it a line in test/architecture/rules.cjs, or do without',
    { path: '^src/' },
    { path: npm('[^/]+'), pathNot: Object.keys(PACKAGES).map(npm) },
  ),
  rule(
    'resolvable',
    'the import leads nowhere: correct the path, or put the package into package.json',
    { path: '^src/' },
    { couldNotResolve: true },
  ),
  rule(
    'no-cycles',
    'the two files need each other: move what both need into a third',
    { path: '^src/' },
    { circular: true },
  ),
];

module.exports = {
  forbidden: [...layers, ...packages, ...others],
  options: {
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
