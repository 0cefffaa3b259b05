/** Guide: "Certificate Caching", "SSL Context Optimization": both are done by the manager. */
import { getMtlsManager, ServiceType } from '../../src/index.ts';

await using mtlsManager = await getMtlsManager();
const serviceName = 'ai-conversation-service';
await mtlsManager.initializeServiceCertificate({ serviceName, serviceType: ServiceType.AI_SERVICE });

const context = await mtlsManager.getSslContext(serviceName);
console.log(`same context: ${context === (await mtlsManager.getSslContext(serviceName))}`);

const bundle = await mtlsManager.store.loadCertificate(serviceName);
console.log(`certificate of ${bundle?.leaf.subject}`);

// A new certificate is never hidden by what was kept.
await mtlsManager.initializeServiceCertificate({ serviceName, serviceType: ServiceType.AI_SERVICE });
console.log(`after a rotation: ${context === (await mtlsManager.getSslContext(serviceName))}`);
