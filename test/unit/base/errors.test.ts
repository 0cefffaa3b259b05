import { readFileSync } from 'node:fs';
import t from 'tap';
import { ERROR_PAGES, isAbort, isSidelockError, nodeCode, SidelockError } from '../../../src/base/errors.ts';

t.test('each page says what, why and what to do, in sentences', (t) => {
  for (const [code, { title, why, fix }] of Object.entries(ERROR_PAGES)) {
    t.match(code, /^SL-[A-Z]+-\d{3}$/);
    t.match(title, /^[A-Za-z][^.]+$/, `${code}: a title, no sentence`);
    t.match(why, /^[A-Z].*\.$/, `${code}: why`);
    t.ok(fix.length > 10, `${code}: fix`);
  }
  t.end();
});

t.test('an error has the fix of its page unless it knows better', (t) => {
  const cause = new Error('below');
  const plain = new SidelockError('SL-PEM-001', '/x/cert.pem is not PEM', { cause });
  t.match(plain, { name: 'SidelockError', code: 'SL-PEM-001', fix: ERROR_PAGES['SL-PEM-001'].fix, cause, data: {} });
  t.notOk('cause' in new SidelockError('SL-PEM-001', 'x'), 'no cause that is undefined');
  t.equal(new SidelockError('SL-PEM-001', 'x', { fix: 'do this' }).fix, 'do this');
  t.ok(isSidelockError(plain) && isSidelockError(plain, 'SL-PEM-001'));
  t.notOk(isSidelockError(plain, 'SL-PEM-002') || isSidelockError(cause));
  t.end();
});

t.test('codes of the system and aborts are read without looking at texts', (t) => {
  const missing = (() => {
    try {
      return readFileSync('/nowhere/at/all');
    } catch (error) {
      return error;
    }
  })();
  t.equal(nodeCode(missing), 'ENOENT');
  for (const nothing of [undefined, null, 'ENOENT', {}, { code: 7 }]) t.equal(nodeCode(nothing), undefined);
  t.ok(isAbort(AbortSignal.abort().reason));
  t.notOk(isAbort(AbortSignal.timeout) || isAbort(missing) || isAbort('AbortError'));
  t.end();
});
