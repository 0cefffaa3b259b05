import type { CertificateLine, DashboardData, State } from './data.ts';

/** Keeps the state up to date, and shows each new one. */
export function follow(show: (state: State) => void): void {
  let state: State = { data: undefined, lines: [], connection: 'connecting' };
  const change = (next: Partial<State>) => {
    state = { ...state, ...next };
    show(state);
  };
  show(state);
  const events = new EventSource('v1/events');
  events.addEventListener('open', () => change({ connection: 'live' }));
  // The browser asks again by itself.
  events.addEventListener('error', () => change({ connection: 'lost' }));
  events.addEventListener('dashboard', ({ data }: MessageEvent<string>) => {
    change({ data: JSON.parse(data) as DashboardData, connection: 'live' });
    inventory().then(
      (lines) => change({ lines }),
      () => change({ connection: 'lost' }),
    );
  });
}

async function inventory(): Promise<CertificateLine[]> {
  const answer = await fetch('v1/inventory');
  if (!answer.ok) throw new Error(`v1/inventory answered ${answer.status}`);
  return (await answer.json()) as CertificateLine[];
}
