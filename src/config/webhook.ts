import { z } from 'zod';
import { LOG_LEVELS } from '../base/log.ts';
import { head, label, listenAddress, logSettings, managerAddress, trustDomain } from './fields.ts';

export const webhookSchema = z
  .strictObject({
    ...head('Webhook'),
    listen: listenAddress('0.0.0.0').prefault('0.0.0.0:8443').describe('where the API server calls (TLS)'),
    health: listenAddress('0.0.0.0').prefault('0.0.0.0:8081').describe('plain /healthz /readyz /metrics'),
    namespace: label().prefault('sidelock-system').describe('its own namespace'),
    service: label().prefault('sidelock-webhook').describe('Service by which the API server calls it'),
    configuration: label()
      .prefault('sidelock-webhook')
      .describe('MutatingWebhookConfiguration in which it keeps its CA'),
    trustDomain: trustDomain(),
    manager: managerAddress()
      .prefault('https://sidelock-manager.sidelock-system.svc:9443')
      .describe('manager that sidecars get their certificates from'),
    sidecar: z
      .strictObject({
        image: z.string().min(1).optional().describe('of the sidecars; sidelock-sidecar of this version unless given'),
        identity: z
          .enum(['token', 'podCertificate'], { error: 'expected token or podCertificate' })
          .prefault('token')
          .describe('how sidecars get their certificate: by the token of their pod, or from kubelet (Kubernetes 1.37)'),
        logLevel: z.enum(LOG_LEVELS).prefault('info').describe('least level that sidecars write'),
      })
      .prefault({}),
    log: logSettings(),
  })
  .describe('The webhook that puts sidecars into pods');

export type WebhookConfig = z.output<typeof webhookSchema>;
