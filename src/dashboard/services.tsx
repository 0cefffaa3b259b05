import { useState } from 'preact/hooks';
import { away, type CertificateLine, COLUMNS, type Column, type Order, search, sorted } from './data.ts';
import { Scroll } from './scroll.tsx';
import { Status } from './status.tsx';

const TITLES: Readonly<Record<Column, string>> = {
  service: 'service',
  namespace: 'namespace',
  type: 'type',
  days_left: 'left',
  status: 'status',
};
/** More rows than a person reads; the search finds the others. */
const SHOWN = 200;

export function Services({ lines, now }: { readonly lines: readonly CertificateLine[]; readonly now: number }) {
  const [text, setText] = useState('');
  const [order, setOrder] = useState<Order>({ by: 'days_left', down: false });
  const found = sorted(search(lines, text), order);
  const more = found.length - SHOWN;
  return (
    <section aria-labelledby="services" class="wide">
      <h2 id="services">Services</h2>
      <label>
        search <input type="search" value={text} onInput={({ currentTarget }) => setText(currentTarget.value)} />
      </label>{' '}
      <span role="status">
        {found.length} of {lines.length}
      </span>
      <Scroll label="table of services">
        <table>
          <caption>The newest certificate of each service</caption>
          <thead>
            <tr>
              {COLUMNS.map((column) => (
                <Heading key={column} column={column} order={order} choose={setOrder} />
              ))}
              <th scope="col">renewal</th>
              <th scope="col">serial</th>
              <th scope="col">key</th>
              <th scope="col">held by</th>
              <th scope="col">its sidecar serves</th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, SHOWN).map((line) => (
              <Row key={`${line.namespace}/${line.service}`} line={line} now={now} />
            ))}
          </tbody>
        </table>
      </Scroll>
      {more > 0 && <p>{more} more: search for them, or sidelock list.</p>}
    </section>
  );
}

interface HeadingProps {
  readonly column: Column;
  readonly order: Order;
  readonly choose: (order: Order) => void;
}

function Heading({ column, order, choose }: HeadingProps) {
  const active = order.by === column;
  const down = active && order.down;
  return (
    <th scope="col" aria-sort={active ? (down ? 'descending' : 'ascending') : 'none'}>
      <button type="button" onClick={() => choose({ by: column, down: active && !order.down })}>
        {TITLES[column]}
        <span aria-hidden="true">{active ? (down ? ' ▼' : ' ▲') : ''}</span>
      </button>
    </th>
  );
}

/** In words: what is served may be what was issued before, or come with roots of before. */
function Serves({ line: { serves, serial, held_by }, now }: { readonly line: CertificateLine; readonly now: number }) {
  if (serves === null) return <>{held_by === 'manager' ? 'files' : 'not heard of'}</>;
  const what = serves.serial === serial ? 'this one' : `another: ${serves.serial.slice(0, 8)}`;
  const roots = serves.bundle === 'current' ? 'current roots' : 'other roots';
  const well = serves.serial === serial && serves.bundle === 'current';
  return (
    <span class={well ? 'healthy' : 'warning'} title={`heard of ${away(serves.heard_at, now)}`}>
      <span aria-hidden="true">{well ? '●' : '▲'}</span> {what}, {roots}
    </span>
  );
}

function Row({ line, now }: { readonly line: CertificateLine; readonly now: number }) {
  return (
    <tr>
      <th scope="row" title={line.spiffe_id}>
        {line.service}
      </th>
      <td>{line.namespace}</td>
      <td>{line.type}</td>
      <td title={line.not_after}>{away(line.not_after, now)}</td>
      <td>
        <Status status={line.status} />
      </td>
      <td title={line.renew_at}>{away(line.renew_at, now)}</td>
      <td class="serial">{line.serial}</td>
      <td>{line.key_type}</td>
      <td>{line.held_by}</td>
      <td>
        <Serves line={line} now={now} />
      </td>
    </tr>
  );
}
