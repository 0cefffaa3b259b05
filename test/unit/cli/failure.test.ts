import t from 'tap';
import { SidelockError, SidelockErrors } from '../../../src/base/errors.ts';
import { exitCodeOf, failureDocument, failureText, printable } from '../../../src/cli/failure.ts';

const style = { mark: '✖', dim: (text: string) => text, verbose: false };
const inUse = new SidelockError('SL-NET-001', '127.0.0.1:9101 for outbound orders is in use', {
  why: 'node (pid 4121) listens there',
  fix: 'stop it',
});

t.test('what, why, fix, code', async (t) => {
  t.equal(
    failureText(inUse, style),
    `✖ 127.0.0.1:9101 for outbound orders is in use
  why  node (pid 4121) listens there
  fix  stop it
  code SL-NET-001   docs sidelock explain SL-NET-001
`,
  );
});

t.test('several at once, then their number', async (t) => {
  const text = failureText(
    new SidelockErrors('x', [inUse, new SidelockError('SL-CFG-004', 'c.yaml:1:1 a: unknown key')]),
    style,
  );
  t.match(text, /^✖ 127.*^✖ c\.yaml:1:1.*^2 problems\n$/ms);
});

t.test('a bug has no code and shows its stack only when asked', async (t) => {
  const bug = new TypeError('x is not a function');
  t.equal(failureText(bug, style), '✖ unexpected: x is not a function\n');
  t.match(failureText(bug, { ...style, verbose: true }), /failure\.test\.ts/);
});

t.test('the document for machines has the same words', async (t) => {
  t.match(failureDocument(inUse), {
    error: { code: 'SL-NET-001', message: /in use$/, why: /4121/, fix: 'stop it', docs: 'sidelock explain SL-NET-001' },
  });
  t.match(failureDocument(new SidelockErrors('x', [inUse, inUse])), {
    error: { code: 'SL-NET-001', errors: [{}, {}] },
  });
  t.match(failureDocument(new Error('bug')), { error: { code: 'unexpected', message: 'bug' } });
});

t.test('no secret and no control character reaches the terminal', async (t) => {
  const error = new SidelockError('SL-TOK-001', 'token slk_abcdefghijklmnop.qrst refused\u001b[2J\nok', {
    why: 'a\u202eb',
  });
  const text = failureText(error, style);
  for (const hidden of ['ghijkl', '\u001b', '\u202e']) t.notOk(text.includes(hidden));
  t.match(text, /refused\\x1b\[2J\\x0aok/);
  t.equal(printable('a\tb\u0085'), 'a\\x09b\\x85');
  t.notMatch(JSON.stringify(failureDocument(error)), /ghijkl/);
});

t.test('exit codes', async (t) => {
  const codes = {
    'SL-USAGE-001': 2,
    'SL-CFG-003': 2,
    'SL-ENV-001': 2,
    'SL-ENV-002': 2,
    'SL-MGR-001': 3,
    'SL-API-002': 4,
    'SL-NET-001': 1,
  } as const;
  for (const [code, exit] of Object.entries(codes))
    t.equal(exitCodeOf(new SidelockError(code as keyof typeof codes, 'x')), exit, code);
  t.equal(exitCodeOf(new SidelockErrors('x', [new SidelockError('SL-CFG-003', 'x')])), 2);
  t.equal(exitCodeOf(new Error('bug')), 1);
});
