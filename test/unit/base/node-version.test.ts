import { readFileSync } from 'node:fs';
import t from 'tap';
import { nodeTooOld } from '../../../src/base/node-version.ts';

t.test('a Node that does not show the whole chain of a peer is named', async (t) => {
  for (const version of ['20.20.2', '24.21.0', '25.9.0', '26.0.0', '26.8.2', '26.9.0'])
    t.match(nodeTooOld(version), new RegExp(`26\\.10 .* ${version}$`), version);
  for (const version of ['26.10.0', '26.13.1', '27.0.0', '100.0.0']) t.equal(nodeTooOld(version), undefined);
  t.match(JSON.parse(readFileSync('package.json', 'utf8')).engines, { node: '>=26.10' }, 'the package says the same');
});
