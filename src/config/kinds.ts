import type { z } from 'zod';
import { MANAGER_ALIASES } from './aliases.ts';
import { type DemoConfig, demoSchema } from './demo.ts';
import { type ManagerConfig, managerSchema } from './manager.ts';
import { type Shape, shapeOf } from './shape.ts';
import { type SidecarConfig, sidecarSchema } from './sidecar.ts';
import { type WebhookConfig, webhookSchema } from './webhook.ts';

interface ConfigOf {
  readonly Manager: ManagerConfig;
  readonly Sidecar: SidecarConfig;
  readonly Demo: DemoConfig;
  readonly Webhook: WebhookConfig;
}

export type Kind = keyof ConfigOf;
export type Config<K extends Kind> = ConfigOf[K];

interface KindEntry<K extends Kind> {
  readonly schema: z.ZodType<Config<K>>;
  readonly shape: Shape;
  readonly aliases: typeof MANAGER_ALIASES;
}

export const KINDS: { readonly [K in Kind]: KindEntry<K> } = {
  Manager: { schema: managerSchema, shape: shapeOf(managerSchema), aliases: MANAGER_ALIASES },
  Sidecar: { schema: sidecarSchema, shape: shapeOf(sidecarSchema), aliases: [] },
  Demo: { schema: demoSchema, shape: shapeOf(demoSchema), aliases: [] },
  Webhook: { schema: webhookSchema, shape: shapeOf(webhookSchema), aliases: [] },
};

export const KIND_NAMES: readonly Kind[] = ['Manager', 'Sidecar', 'Demo', 'Webhook'];

export function isKind(name: unknown): name is Kind {
  return typeof name === 'string' && Object.hasOwn(KINDS, name);
}
