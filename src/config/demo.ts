import * as z from 'zod';
import { caller, head, label, listenAddress, trustDomain } from './fields.ts';

const service = z.strictObject({
  name: label().describe('name of the service and of its small app'),
  app: listenAddress('127.0.0.1').describe('where its app listens without TLS'),
  mtls: listenAddress('127.0.0.1').describe('where its sidecar listens with mTLS'),
  allow: z
    .union([z.literal('any'), z.array(caller()).min(1)], { error: 'expected a list of callers, or the word any' })
    .describe('who may call it'),
  calls: z
    .array(
      z.strictObject({
        service: label().describe('a service that stands above this one'),
        listen: listenAddress('127.0.0.1').describe('where this service reaches it without TLS'),
      }),
    )
    .prefault([]),
});

/** Services are started as they stand, and each must know the address of those it calls. */
function checkOrder(services: ReadonlyArray<z.output<typeof service>>, context: z.RefinementCtx): void {
  services.forEach(({ name, calls }, i) => {
    const above = services.slice(0, i).map((other) => other.name);
    if (above.includes(name)) context.addIssue({ code: 'custom', path: [i, 'name'], message: 'is taken already' });
    calls.forEach((call, j) => {
      if (above.includes(call.service)) return;
      const message = 'expected a service that stands above this one in the file';
      context.addIssue({ code: 'custom', path: [i, 'calls', j, 'service'], message });
    });
  });
}

export const demoSchema = z
  .strictObject({
    ...head('Demo'),
    trustDomain: trustDomain(),
    ca: z.strictObject({ name: z.string().min(1).max(64).prefault('AI-Teddy-CA') }).prefault({}),
    services: z.array(service).min(1, { error: 'at least one service is needed' }).superRefine(checkOrder),
  })
  .describe('What `sidelock dev` starts: a manager, and for each service a small app with its sidecar');

export type DemoConfig = z.output<typeof demoSchema>;
