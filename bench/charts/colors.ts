/** A colour for each peer, the same in all charts: blues are ours, and colour-blind readers can tell them apart. */
const COLORS: Readonly<Record<string, string>> = {
  sidelock: '#0b5cad',
  'sidelock-own': '#4f9de0',
  'from-ghostunnel': '#8cc1ee',
  'to-ghostunnel': '#8cc1ee',
  'to-haproxy': '#8cc1ee',
  haproxy: '#d55e00',
  'haproxy-h2': '#e8a06b',
  nginx: '#009e73',
  ghostunnel: '#7b4fa3',
};

export function colorOf(peer: string): string {
  return COLORS[peer] ?? '#9aa5b1';
}
