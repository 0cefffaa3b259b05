import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startHttp2 } from '../support/http2-rig.ts';
import { requireProgram } from '../support/programs.ts';
import { H2SPEC_FAILS } from '../support/reference/h2spec.ts';
import { run } from '../support/servers.ts';

const SOURCE = join(import.meta.dirname, '../interop/h2spec');
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
    const { stdout } = await run(program, ['127.0.0.1', String(web.local.port), '2'], { maxBuffer: 8 << 20 });
    const cases = [...stdout.matchAll(/^case (\w+) (\S+): (.*)$/gm)].map(([, outcome, id = '', what]) => ({
      outcome,
      id,
      what,
    }));
    t.equal(cases.length, 146);
    for (const { id, what, outcome } of cases) {
      const reason = H2SPEC_FAILS[id];
      if (reason === undefined) t.equal(outcome, 'passed', `${id}: ${what}`);
      else t.equal(outcome, 'failed', `${id}: ${what} (${reason})`);
    }
  },
);
