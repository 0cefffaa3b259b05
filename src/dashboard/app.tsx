import { Alerts } from './alerts.tsx';
import type { State } from './data.ts';
import { Edges } from './edges.tsx';
import { Expiry } from './expiry.tsx';
import { Header } from './header.tsx';
import { Performance } from './performance.tsx';
import { Rotations } from './rotations.tsx';
import { Services } from './services.tsx';
import { Trust } from './trust.tsx';

export function App({ data, lines, connection }: State) {
  if (data === undefined) {
    const text = connection === 'lost' ? 'The manager does not answer. Trying again …' : 'Asking the manager …';
    return <main aria-busy="true">{text}</main>;
  }
  const now = Date.parse(data.generated_at);
  return (
    <>
      <Header data={data} connection={connection} now={now} />
      <main>
        <Alerts {...data.alerts} />
        <Expiry buckets={data.expiry} lines={lines} now={now} />
        <Rotations rotations={data.rotations} now={now} />
        <Edges edges={data.edges} left={data.edges_left} />
        <Trust trust={data.trust} now={now} />
        <Services lines={lines} now={now} />
        <Performance performance={data.performance} history={data.history} />
      </main>
    </>
  );
}
