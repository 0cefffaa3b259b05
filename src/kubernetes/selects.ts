import { isObject, type Json, textOf } from './names.ts';

/**
 * Whether a Service has pods with these labels behind it. One without selector has none, though an empty selector elsewhere
 * means all; and ExternalName is another name in DNS and no more.
 */
export function selects({ spec }: Json, labels: unknown): boolean {
  const selector = Object.entries(isObject(spec) && isObject(spec['selector']) ? spec['selector'] : {});
  const isName = textOf(spec, 'type') === 'ExternalName';
  return !isName && selector.length > 0 && selector.every(([key, value]) => textOf(labels, key) === value);
}
