import { away, type DashboardData } from './data.ts';

interface TrustProps {
  readonly trust: DashboardData['trust'];
  readonly now: number;
}

const PHASES: Readonly<Record<DashboardData['trust']['phase'], string>> = {
  steady: 'One root, no change under way.',
  staged: 'A new root is staged: everybody learns it, the old one signs.',
  active: 'The new root signs; certificates of the old one are replaced.',
  compromised: 'The old root is in strange hands: it goes as soon as nobody needs it.',
};
const STATES = { signs: 'signs', next: 'comes next', old: 'still trusted', gone: 'gone' } as const;

export function Trust({ trust, now }: TrustProps) {
  const { phase, roots, sidecars, crl, deadline, since } = trust;
  const calm = phase === 'steady';
  return (
    <section aria-labelledby="trust" class="trust wide">
      <h2 id="trust">Trust</h2>
      <p role="status">
        <span class={calm ? 'healthy' : 'warning'}>
          <span aria-hidden="true">{calm ? '●' : '▲'}</span> {phase}
        </span>
        {since !== null && !calm && ` since ${ago(since, now)}`}
        {deadline !== null && `, at the latest in ${away(deadline, now)}`}
        <br />
        {PHASES[phase]}
      </p>
      <ul>
        {roots
          .filter(({ state }) => state !== 'gone')
          .map(({ number, subject, sha256, not_after, state, certificates }) => (
            <li key={number} title={`sha256 ${sha256}`}>
              root {number} ({sha256.slice(0, 8)}) {STATES[state]}: {subject}, {certificates} certificates, ends in{' '}
              {away(not_after, now)}
            </li>
          ))}
      </ul>
      <p>
        {sidecars.confirmed} of {sidecars.total} sidecars have the bundle in force. {crl.revoked} certificates are
        revoked; the next list is due in {away(crl.next_update, now)}.
      </p>
      {!calm && <Behind trust={trust} now={now} />}
    </section>
  );
}

function Behind({ trust: { lacking, left, next }, now }: TrustProps) {
  return (
    <>
      {lacking.length === 0 ? (
        <p>Nobody stands against the next step.</p>
      ) : (
        <table>
          <caption>Who stands against the next step</caption>
          <thead>
            <tr>
              <th scope="col">service</th>
              <th scope="col">why</th>
              <th scope="col">ends by itself</th>
            </tr>
          </thead>
          <tbody>
            {lacking.map(({ service, namespace, why, until }) => (
              <tr key={`${namespace}/${service}/${until}`}>
                <th scope="row">{namespace === 'default' ? service : `${namespace}/${service}`}</th>
                <td class="why">{why}</td>
                <td>{away(until, now)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {left > 0 && <p>{left} more: sidelock trust status.</p>}
      <p class="fix">next: {next}</p>
    </>
  );
}

function ago(time: string, now: number): string {
  return away(time, now).replace(' ago', '');
}
