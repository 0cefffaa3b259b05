import { away, type DashboardData } from './data.ts';

const SHOWN = 20;

interface RotationsProps {
  readonly rotations: DashboardData['rotations'];
  readonly now: number;
}

export function Rotations({ rotations, now }: RotationsProps) {
  return (
    <section aria-labelledby="rotations">
      <h2 id="rotations">Issued last</h2>
      <ol class="rotations">
        {rotations.slice(0, SHOWN).map(({ at, service, serial, kind }) => (
          <li key={serial}>
            <time dateTime={at}>{away(at, now)}</time> <strong>{service}</strong> {kind}{' '}
            <span class="serial">{serial.slice(0, 12)}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}
