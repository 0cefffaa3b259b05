import type { CertificateLine } from './data.ts';

const SHAPES: Readonly<Record<CertificateLine['status'], string>> = {
  revoked: '–',
  healthy: '●',
  info: '○',
  warning: '▲',
  error: '■',
  critical: '✖',
};

/** By shape and word, and by colour for those who see it. */
export function Status({ status }: Pick<CertificateLine, 'status'>) {
  return (
    <span class={`status ${status}`}>
      <span aria-hidden="true">{SHAPES[status]}</span> {status}
    </span>
  );
}
