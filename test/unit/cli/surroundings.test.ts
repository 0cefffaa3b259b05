import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isSidelockError } from '../../../src/base/errors.ts';
import { checkSurroundings, nodeWarning } from '../../../src/cli/surroundings.ts';

function refusal(
  env: Readonly<Record<string, string>>,
  execArgv: readonly string[] = [],
  inspector?: string,
  lasting = true,
) {
  try {
    checkSurroundings({ env, execArgv, inspector, lasting });
    return undefined;
  } catch (error) {
    if (isSidelockError(error, 'SL-ENV-001')) return error.message;
    throw error;
  }
}

t.test('each variable that weakens TLS or leaks keys is refused by its name', async (t) => {
  for (const name of ['NODE_EXTRA_CA_CERTS', 'SSLKEYLOGFILE', 'NODE_DEBUG', 'NODE_V8_COVERAGE']) {
    t.equal(refusal({ [name]: 'x' }), `will not start with ${name} set`);
    t.equal(refusal({ [name]: '' }), undefined);
  }
  t.equal(refusal({ NODE_EXTRA_CA_CERTS: 'x' }, [], undefined, false), undefined, 'but not where nothing lasts');
  t.match(refusal({ NODE_TLS_REJECT_UNAUTHORIZED: '0' }), /NODE_TLS_REJECT_UNAUTHORIZED=0/);
  t.equal(refusal({ NODE_TLS_REJECT_UNAUTHORIZED: '1' }), undefined);
});

t.test('each flag, in NODE_OPTIONS and on the command line, in both spellings', async (t) => {
  for (const flag of [
    '--insecure-http-parser',
    '--tls-keylog=/tmp/k',
    '--inspect',
    '--inspect-brk=0.0.0.0:9229',
    '--tls-min-v1.0',
    '--openssl-legacy-provider',
    '--security-revert=CVE-2023-46809',
    '--tls_keylog=/tmp/k',
  ]) {
    t.match(refusal({ NODE_OPTIONS: `--max-old-space-size=99 ${flag}` }), `${flag} in NODE_OPTIONS`);
    t.match(refusal({}, [flag]), `${flag} in the command line of node`);
  }
  t.equal(refusal({ NODE_OPTIONS: '--max-old-space-size=99 --tls-min-v1.3' }, ['--disable-sigusr1']), undefined);
});

t.test('an OpenSSL config that others may write is refused', async (t) => {
  const file = join(t.testdir({}), 'openssl.cnf');
  writeFileSync(file, '');
  chmodSync(file, 0o644);
  t.equal(refusal({ OPENSSL_CONF: file }), undefined);
  chmodSync(file, 0o666);
  t.match(refusal({ OPENSSL_CONF: file }), /OPENSSL_CONF/);
});

t.test('an inspector that is open already is refused', async (t) => {
  t.match(refusal({}, [], 'ws://127.0.0.1:9229/x'), /open inspector/);
});

t.test('a Node without the fixes is named', async (t) => {
  for (const version of ['26.10.0', '26.13.0']) t.match(nodeWarning(version), new RegExp(version), version);
  for (const version of ['26.13.1', '26.14.0', '27.0.0', '28.1.0']) t.equal(nodeWarning(version), undefined, version);
});
