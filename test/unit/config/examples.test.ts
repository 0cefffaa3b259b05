import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isKind } from '../../../src/config/kinds.ts';
import { kindOf, loadConfig } from '../../../src/config/load.ts';
import { problemsIn } from '../../support/config.ts';

const directory = join(import.meta.dirname, '../../../config');

t.test('every example is valid, with nothing but itself', async (t) => {
  const files = readdirSync(directory).filter((file) => file.endsWith('.yaml'));
  t.ok(files.length >= 3);
  for (const name of files) {
    const text = readFileSync(join(directory, name), 'utf8');
    const kind = kindOf(text, name);
    t.equal(kind.toLowerCase(), name.replace('.yaml', ''), `${name} is named after its kind`);
    t.doesNotThrow(() => loadConfig(kind, { file: { name, text }, env: {} }), name);
  }
});

t.test('a kind that is not one is named', async (t) => {
  t.notOk(isKind('toString'));
  t.throws(() => kindOf('kind: Sidecart', 'x.yaml'), { code: 'SL-CFG-003', message: 'x.yaml kind: unknown' });
  t.throws(() => kindOf('a: 1', 'x.yaml'), { code: 'SL-CFG-003', message: 'x.yaml kind: is missing' });
  t.throws(() => kindOf('[', 'x.yaml'), { name: 'SidelockErrors' });
});

t.test('the services of a demo call those above them', async (t) => {
  const text = `kind: Demo
services:
  - { name: a, app: 0, mtls: 0, allow: any, calls: [{ service: b, listen: 0 }] }
  - { name: b, app: 0, mtls: 0, allow: any, calls: [{ service: b, listen: 0 }, { service: a, listen: 0 }] }
  - { name: a, app: 0, mtls: 0, allow: any }
`;
  t.match(problemsIn('Demo', text), [
    /c.yaml:3:\d+ services\[0\].calls\[0\].service: expected a service that stands above/,
    /c.yaml:4:\d+ services\[1\].calls\[0\].service: expected a service that stands above/,
    /c.yaml:5:\d+ services\[2\].name: is taken already/,
  ]);
});
