import t from 'tap';
import { loadConfig } from '../../../src/config/load.ts';
import { printConfig, printOrigins } from '../../../src/config/print.ts';

const FILE = { name: 'm.yaml', text: 'ca: { name: X }\ncertificates: { validity_days: 10 }\n' };

t.test('what is printed loads to the same config', async (t) => {
  const first = loadConfig('Manager', { file: FILE, env: { MTLS_LISTEN: '1' } });
  const again = loadConfig('Manager', { file: { name: 'again', text: printConfig(first.effective) }, env: {} });
  t.strictSame(again.config, first.config);
});

t.test('each value with where it came from', async (t) => {
  const { effective, origin } = loadConfig('Manager', { file: FILE, env: { MTLS_LISTEN: '1' } });
  const lines = printOrigins(effective, origin).split('\n');
  t.match(
    lines.find((line) => line.startsWith('ca.name')),
    /^ca\.name: X +# m\.yaml:1:7$/,
  );
  t.match(
    lines.find((line) => line.startsWith('listen')),
    /^listen: 1 +# env MTLS_LISTEN$/,
  );
  t.match(
    lines.find((line) => line.startsWith('certificates.validity')),
    /^certificates\.validity: 10d +# m\.yaml:2:17$/,
  );
  t.match(
    lines.find((line) => line.startsWith('ca.keySize')),
    /^ca\.keySize: 4096 +# default$/,
  );
});
