import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startHttp2 } from '../support/http2-rig.ts';
import { requireProgram } from '../support/programs.ts';
import { run } from '../support/servers.ts';

const SOURCE = join(import.meta.dirname, '../interop/h2spec');
const IGNORED = 'nghttp2 ignores frames on a stream that is closed, as RFC 9113 5.1 has it; none reaches the app';
const PRIORITY = 'priorities are no part of RFC 9113 any more: nghttp2 reads none of them';
const STRICTER = 'the whole connection is closed, which is more than is asked for';

/** What fails, and why it may. A plain server of node:http2 fails the same ones, and one more. */
const FAILS: Readonly<Record<string, string>> = {
  'http2/5.1/8': IGNORED,
  'http2/5.1/9': IGNORED,
  'http2/5.1/11': IGNORED,
  'http2/5.1/12': IGNORED,
  'http2/5.1.1/2': IGNORED,
  'http2/5.3.1/2': PRIORITY,
  'http2/6.3/1': PRIORITY,
  'http2/6.7/2': STRICTER,
  'http2/6.9.1/3': STRICTER,
};

t.test(
  'h2spec, strict, against the local port of an outbound: 137 of 146, and a reason for each of the others',
  async (t) => {
    const go = requireProgram(t, 'go');
    if (go === undefined) return;
    const directory = await mkdtemp(join(tmpdir(), 'sidelock-h2spec-'));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const program = join(directory, 'h2spec');
    await run(go, ['build', '-o', program, '.'], { cwd: SOURCE });
    const { web } = await startHttp2(t, (stream) => {
      stream.resume();
      stream.respond({ ':status': 200 });
      stream.end('hello'.repeat(200));
    });
    // A case that waits for what does not come takes as long as this, in seconds.
    const { stdout } = await run(program, ['127.0.0.1', String(web.local.port), '1'], { maxBuffer: 8 << 20 });
    const cases = [...stdout.matchAll(/^case (\w+) (\S+): (.*)$/gm)].map(([, outcome, id = '', what]) => ({
      outcome,
      id,
      what,
    }));
    t.equal(cases.length, 146);
    for (const { id, what, outcome } of cases) {
      const reason = FAILS[id];
      if (reason === undefined) t.equal(outcome, 'passed', `${id}: ${what}`);
      else t.equal(outcome, 'failed', `${id}: ${what} (${reason})`);
    }
  },
);
