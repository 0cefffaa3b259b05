import { isSidelockError } from '../base/errors.ts';
import { connectKubernetes, type WriteOptions } from '../kubernetes/client.ts';
import { type Change, updateDeploymentWithMtls } from '../kubernetes/deployments.ts';
import { createIstioMtlsPolicy } from '../kubernetes/istio.ts';
import { secretClient } from '../kubernetes/secret-client.ts';
import { deployCertificateAsSecret } from '../kubernetes/secrets.ts';
import type { ServiceType } from '../pki/profiles.ts';
import { getMtlsManager, type MtlsManagerOptions } from './manager.ts';

interface ClusterService extends WriteOptions {
  readonly serviceName: string;
  /** `default` unless given. */
  readonly namespace?: string;
}

export interface OrchestratorOptions extends MtlsManagerOptions {
  /** What `bootstrapClusterMtls` does; in any number of namespaces. */
  readonly services?: ReadonlyArray<ClusterService & { readonly serviceType?: ServiceType }>;
}

/** Certificates of the manager in a cluster, under the names of the guide. All of it is safe to run again. */
export interface MtlsOrchestrator {
  /** Certificate, Secret, mounts and Istio policies of every service of the options. True when all is there. */
  bootstrapClusterMtls(): Promise<boolean>;
  readonly k8sIntegration: {
    /** Keeps Secret `<service>-mtls-certs`; one of somebody else is SL-KUBE-003. */
    deployCertificateAsSecret(service: ClusterService): Promise<Pick<Change, 'outcome'>>;
    updateDeploymentWithMtls(service: ClusterService): Promise<Change>;
    /** `istio` is false where the cluster has none: nothing was written. */
    createIstioMtlsPolicy(service: ClusterService): ReturnType<typeof createIstioMtlsPolicy>;
  };
}

/**
 * The cluster that KUBECONFIG, `~/.kube/config` or the ServiceAccount of this pod leads to, and the manager that
 * `getMtlsManager` gives for the options. @throws SL-KUBE-001, and what getMtlsManager throws
 */
export async function getMtlsOrchestrator(options: OrchestratorOptions = {}): Promise<MtlsOrchestrator> {
  const manager = await getMtlsManager(options);
  const api = await connectKubernetes();
  const of = ({ serviceName: service, namespace = 'default' }: ClusterService) => ({ service, namespace });

  const k8sIntegration: MtlsOrchestrator['k8sIntegration'] = {
    async deployCertificateAsSecret({ dryRun = false, ...wanted }) {
      const { service, namespace } = of(wanted);
      const files =
        (await manager.store.loadCertificate(service)) ??
        (await manager.initializeServiceCertificate({ serviceName: service, serviceType: 'api_service', namespace }));
      const pem = { cert: files.certificate, key: files.privateKey, ca: files.caCertificate };
      const texts = { cert: pem.cert.toString(), key: pem.key.toString(), ca: pem.ca.toString() };
      return await deployCertificateAsSecret(secretClient(api), { service, namespace, ...texts }, { dryRun });
    },
    updateDeploymentWithMtls: ({ dryRun = false, ...wanted }) => updateDeploymentWithMtls(api, of(wanted), { dryRun }),
    createIstioMtlsPolicy: ({ dryRun = false, ...wanted }) => createIstioMtlsPolicy(api, of(wanted), { dryRun }),
  };

  return {
    k8sIntegration,
    async bootstrapClusterMtls() {
      let all = true;
      for (const { serviceType = 'api_service', ...wanted } of options.services ?? []) {
        const { serviceName, namespace = 'default' } = wanted;
        if ((await manager.store.loadCertificate(serviceName)) === undefined) {
          await manager.initializeServiceCertificate({ serviceName, serviceType, namespace });
        }
        await k8sIntegration.deployCertificateAsSecret(wanted);
        await k8sIntegration.createIstioMtlsPolicy(wanted);
        try {
          await k8sIntegration.updateDeploymentWithMtls(wanted);
        } catch (error) {
          // Not deployed yet: it will find its Secret when it is.
          if (!isSidelockError(error, 'SL-KUBE-002') || error.data['kubernetes'] !== 404) throw error;
          all = false;
        }
      }
      return all;
    },
  };
}
