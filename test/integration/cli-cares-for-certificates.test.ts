import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cli, shortDirectory, startCli, startProgram } from '../support/cli.ts';
import { openManager, shiftedClock } from '../support/manager/rig.ts';
import { requireProgram } from '../support/programs.ts';

const DAY = 24 * 3_600_000;
const QUICK = { MTLS_CA_KEY_SIZE: '2048', MTLS_CERTIFICATES_KEY_TYPE: 'ecdsa-p256' };
const CONFIG = `kind: Manager
services:
  - { name: ai-service, type: ai_service, sans: [ai.local] }
  - { name: child-service, type: child_service }
`;

t.test('bootstrap, rotate, health, validate: as the guide writes them, beside a manager and without one', async (t) => {
  const directory = shortDirectory(t);
  const storage = join(directory, 'pki');
  const file = join(directory, 'cluster_config.yaml');
  writeFileSync(file, CONFIG);
  const env = { ...QUICK, MTLS_STORAGE_PATH: storage };
  const run = (...args: string[]) => cli(args, { env });
  const json = async (...args: string[]) => JSON.parse((await run(...args, '--format', 'json')).stdout);

  t.match(await run('bootstrap', '--config', file), {
    code: 0,
    stdout: /ai-service .*created.*\n.*2 created, 0 kept\n$/s,
  });
  const certificate = (service: string) => readFileSync(join(storage, service, 'cert.pem'), 'utf8');
  const first = certificate('ai-service');
  t.match(await json('bootstrap', '--config', file), { kind: 'BootstrapResult', summary: { created: 0, kept: 2 } });
  t.equal(certificate('ai-service'), first, 'safe to run again');
  writeFileSync(file, CONFIG.replace('[ai.local]', '[ai.local, ai-service.internal]'));
  t.match(
    await json('bootstrap', '--config', file),
    { summary: { created: 1, kept: 1 } },
    'a new name needs a new one',
  );
  t.match(await run('bootstrap'), { code: 2, stderr: /no --config was given/ });

  const manager = startCli(['manager', '--listen', '127.0.0.1:0', '--health', '127.0.0.1:0'], { env });
  t.teardown(() => manager.child.kill('SIGKILL'));
  await manager.saw(/manager ready/);
  const before = certificate('child-service');
  t.match(await run('rotate', '--services', 'ai-service,child-service'), {
    code: 0,
    stdout: /^ROTATED +UNTIL +SERIAL\nai-service .*\nchild-service /,
  });
  t.not(certificate('child-service'), before);
  t.match(await run('rotate', '--services', 'nobody,ai-service'), {
    code: 1,
    stdout: /^ROTATED .*\nai-service /,
    stderr: /no certificate of nobody/,
  });
  t.match(await run('rotate'), { code: 2, stderr: /--all/ });
  t.match(await json('rotate', '--all'), { kind: 'RotationResult', summary: { rotated: 2, failed: 0 } });
  t.match(await run('health', '--format', 'text'), {
    code: 0,
    stdout:
      /^mTLS Health Check\n=+\nService: ai-service\n {2}Expires: .* UTC \(90 d left\)\n {2}Status: healthy\nService: child.*2 of 2 healthy \(100\.0%\)\n$/s,
  });
  t.match(await json('health'), {
    kind: 'HealthReport',
    items: [{ service: 'ai-service', status: 'healthy', secondsLeft: Number, findings: [] }, {}],
    summary: { total: 2, healthy: 2, healthPercentage: 100 },
  });
  t.match(await run('validate'), { code: 0, stdout: /^✔ 2 checked, 0 errors, 0 warnings\n$/ });
  t.match(await run('validate', 'nobody'), { code: 1, stdout: /nobody {2}cert\.missing .*fix: sidelock generate/ });

  chmodSync(join(storage, 'ai-service', 'key.pem'), 0o644);
  writeFileSync(join(storage, 'child-service', 'key.pem'), readFileSync(join(storage, 'ai-service', 'key.pem')));
  t.match(await json('health'), { items: [{ status: 'invalid' }, { status: 'invalid' }], summary: { invalid: 2 } });
  chmodSync(join(storage, 'ai-service', 'key.pem'), 0o644);
  const broken = await run('validate');
  t.match(broken, {
    code: 1,
    stdout: /✖ ai-service {2}file\.mode .*key\.pem can be read by other users.*fix: chmod 0600/,
  });
  t.match(broken.stdout, /✖ child-service {2}key\.match {2}key\.pem does not belong to cert\.pem/);
  t.match(await run('validate', '--directory', join(storage, 'child-service')), { code: 1, stdout: /key\.match/ });

  t.match(await run('audit', 'show', '--service', 'ai-service', '--limit', '1'), {
    code: 0,
    stdout: /^TIME +ACTOR .*\n\d{4}-.* certificate_issued +ai-service +ok +[0-9a-f]{32}\n$/,
  });
  const { head } = await json('audit', 'verify');
  manager.child.kill('SIGTERM');
  await manager.ended;
  const log = join(storage, '.sidelock/audit.log');
  const lines = readFileSync(log, 'utf8');
  t.match(await run('audit', 'verify', '--head', head), { code: 0, stdout: /✔ \d+ entries/ });
  writeFileSync(log, lines.slice(0, lines.indexOf('\n') + 1));
  t.match(await run('audit', 'verify', '--head', head), { code: 1, stdout: /the log ends here/ });
  writeFileSync(log, lines.replace('child-service', 'other-service'));
  t.match(await run('audit', 'verify'), { code: 1, stdout: /its content does not match its hash/ });
});

t.test('what is expired or due is told by service, with the exit code of the guide’s cron job', async (t) => {
  const storage = join(shortDirectory(t), 'pki');
  for (const [serviceName, ago] of [
    ['old', 70],
    ['young', 5],
  ] as const) {
    const past = shiftedClock();
    past.shift(-ago * DAY);
    await using manager = await openManager(storage, past, { certificates: { validityMs: 60 * DAY } });
    await manager.initializeServiceCertificate({ serviceName, serviceType: 'api_service' });
  }
  const run = (...args: string[]) => cli([...args, '--storage', storage], { env: QUICK });
  t.match(await run('health'), {
    code: 1,
    stdout:
      /Service: old\n.*Status: expired\n +the certificate expired .* ago .*\n +fix +sidelock rotate --services old\n.*1 of 2 healthy \(50\.0%\)/s,
  });
  t.match(await run('rotate', '--services', 'old'), { code: 0 });
  t.match(await run('health'), { code: 0 });
});

t.test('completion knows every command and flag, in the shells themselves', async (t) => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await cli(['completion', shell]);
    t.equal(code, 0);
    t.match(stdout, /bootstrap/);
  }
  const bash = requireProgram(t, 'bash');
  if (bash === undefined) return;
  const { stdout: script } = await cli(['completion', 'bash']);
  const complete = async (...words: string[]) => {
    const line = `${script}\nCOMP_WORDS=(sidelock ${words.map((w) => `'${w}'`).join(' ')}) COMP_CWORD=${words.length}\n_sidelock; echo "\${COMPREPLY[*]}"`;
    return (await startProgram(bash, ['-c', line]).ended).stdout.trim();
  };
  t.equal(await complete('boot'), 'bootstrap');
  t.equal(await complete('audit', 'v'), 'verify');
  t.equal(await complete('rotate', '--serv'), '--services');
});
