/** What an operator types for one more token: for a service, or for a device where `type` says that it is one. */
export function tokenCommand({
  service,
  namespace = 'default',
  type,
}: {
  readonly service: string;
  readonly namespace?: string;
  readonly type?: string;
}): string {
  if (type === 'device') return `sidelock device token ${service}`;
  return `sidelock token create ${service}${namespace === 'default' ? '' : ` --namespace ${namespace}`}`;
}
