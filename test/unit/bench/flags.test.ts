import t from 'tap';
import { readFlags } from '../../../bench/flags.ts';
import { SCENARIOS } from '../../../bench/scenarios.ts';

t.test('all scenarios in full, six in short, curves when they are asked for', (t) => {
  const full = readFlags([]);
  t.match(full, { runs: 3, seconds: 2, quick: false, growth: false });
  t.match(full, { only: ['figures', ...SCENARIOS.map(({ name }) => name)] });
  const quick = readFlags(['--quick']);
  t.match(quick, { runs: 1, seconds: 1, peers: [{ name: 'sidelock' }, { name: 'haproxy' }, { name: 'ghostunnel' }] });
  t.equal('only' in quick && quick.only.length, 7);
  t.match(readFlags(['--growth']), { only: ['l4-connections', 'l4-bodies', 'http-connections', 'http-bodies'] });
  t.end();
});

t.test('what was named, in the order of the tables', (t) => {
  t.match(readFlags(['--only', 'figures,l4-1k', '--peers', 'haproxy', '--runs', '7', '--seconds', '5']), {
    only: ['figures', 'l4-1k'],
    peers: [{ name: 'haproxy' }],
    runs: 7,
    seconds: 5,
  });
  t.end();
});

t.test('wrong usage says what was expected and ends with 2, help and list with 0', (t) => {
  for (const [args, text] of [
    [['--only', 'l4-small,nix'], '--only nix: expected some of figures, l4-small'],
    [['--growth', '--only', 'l4-small'], '--only l4-small: expected some of l4-connections'],
    [['--peers', 'envoy'], '--peers envoy: expected some of sidelock'],
    [['--runs', '0'], '--runs 0: expected 1 to 50'],
    [['--seconds', '1.5'], '--seconds 1.5: expected 1 to 60'],
    [['--fast'], "Unknown option '--fast'"],
  ] as const) {
    const request = readFlags(args);
    t.match(request, { exitCode: 2 });
    t.ok('text' in request && request.text.startsWith(text), text);
  }
  t.match(readFlags(['--help']), { exitCode: 0, text: '--growth' });
  t.match(readFlags(['--list']), { exitCode: 0, text: /^ {2}http-1k +32 keep-alive connections, bodies of 1 KiB/m });
  t.end();
});
