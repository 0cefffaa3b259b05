import { SidelockError } from '../base/errors.ts';
import { parseDuration } from '../config/units.ts';
import { roughly } from './table.ts';

/** The milliseconds that a flag says, `least` or more. @throws SL-USAGE-001 */
export function durationFlag(flag: string, text: string, least: number): number {
  const ms = parseDuration(text);
  if (typeof ms === 'number' && ms >= least) return ms;
  const why = typeof ms === 'number' ? `at least ${roughly(least)} is needed` : ms.problem;
  throw new SidelockError('SL-USAGE-001', `${flag} ${text} is no time to go by`, { why, fix: `write ${flag} 60s` });
}
