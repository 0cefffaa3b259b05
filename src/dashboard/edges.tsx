import type { DashboardData } from './data.ts';
import { Scroll } from './scroll.tsx';

interface EdgesProps {
  readonly edges: DashboardData['edges'];
  readonly left: number;
}

/** Who talks to whom, and with what; those without TLS first. */
export function Edges({ edges, left }: EdgesProps) {
  const plaintext = edges.filter(({ mtls }) => !mtls).length;
  return (
    <section aria-labelledby="edges" class="wide">
      <h2 id="edges">Who talks to whom</h2>
      <p role="status">
        {edges.length - plaintext} with mTLS, {plaintext} in plaintext
      </p>
      {edges.length > 0 && (
        <Scroll label="table of who talks to whom">
          <table>
            <caption>As the sidecars that run say themselves</caption>
            <thead>
              <tr>
                <th scope="col">caller</th>
                <th scope="col">how</th>
                <th scope="col">called</th>
                <th scope="col">connections</th>
              </tr>
            </thead>
            <tbody>
              {edges.map(({ from, to, mtls, connections }) => (
                <tr key={`${from} ${to} ${mtls}`}>
                  <th scope="row">
                    <Party id={from} />
                  </th>
                  <td class={mtls ? 'healthy' : 'warning'}>
                    <span aria-hidden="true">{mtls ? '══▶' : '─ ─▶'}</span> {mtls ? 'mTLS' : 'plaintext'}
                  </td>
                  <td>
                    <Party id={to} />
                  </td>
                  <td>{mtls ? `${connections} open` : `${connections} so far`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
      {left > 0 && <p>{left} more.</p>}
    </section>
  );
}

/** By its short name, with the identity that was proven; an address proves nothing. */
function Party({ id }: { readonly id: string }) {
  const [, namespace, service] = /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(id) ?? [];
  if (service === undefined) return <>{id} (no identity)</>;
  return (
    <>
      {namespace === 'default' ? service : `${namespace}/${service}`} <span class="proven">{id}</span>
    </>
  );
}
