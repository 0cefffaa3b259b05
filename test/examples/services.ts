/** Guide: "Generate Service Certificates", and what there is afterwards ("Certificate Not Found"). */
import { getMtlsManager, ServiceType } from '../../src/index.ts';

await using mtlsManager = await getMtlsManager();

const services = {
  'ai-conversation-service': ServiceType.AI_SERVICE,
  'child-data-service': ServiceType.CHILD_SERVICE,
  'parent-auth-service': ServiceType.PARENT_SERVICE,
  'audio-processing-service': ServiceType.API_SERVICE,
  'postgres-db': ServiceType.DATABASE,
  'redis-cache': ServiceType.CACHE,
  'api-gateway': ServiceType.GATEWAY,
};
for (const [serviceName, serviceType] of Object.entries(services)) {
  await mtlsManager.initializeServiceCertificate({ serviceName, serviceType });
  console.log(`Certificate generated for ${serviceName}`);
}
console.log([...mtlsManager.listAllCertificates().keys()]);
