import { SidelockError } from '../base/errors.ts';
import { describeIssues, type Schema } from './wire.ts';

/** The body as the schema has it. @throws SidelockError SL-API-001 that names each field at fault. */
export function readBody<T>(schema: Schema<T>, body: unknown): T {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  throw new SidelockError('SL-API-001', 'the request is not understood', { why: describeIssues(parsed.error.issues) });
}
