/** Guide: "Initialize mTLS System", "Core mTLS Manager". In a program of yours: from 'sidelock'. */
import { getMtlsManager, ServiceType } from '../../src/index.ts';

await using mtlsManager = await getMtlsManager();

// The CA was made at the first start.
console.log(`CA Name: ${mtlsManager.ca.caName}`);
console.log(`Storage Path: ${mtlsManager.store.storagePath}`);

const bundle = await mtlsManager.initializeServiceCertificate({
  serviceName: 'ai-conversation-service',
  serviceType: ServiceType.AI_SERVICE,
  additionalSans: ['ai-service.internal', 'ai.local'],
});
console.log(bundle.leaf.x509.subjectAltName);
