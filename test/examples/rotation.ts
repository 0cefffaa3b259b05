/** Guide: "Certificate Rotation". */
import { getMtlsManager, ServiceType } from '../../src/index.ts';

await using mtlsManager = await getMtlsManager();
const { rotationManager } = mtlsManager;
for (const serviceName of ['ai-conversation-service', 'child-data-service']) {
  await mtlsManager.initializeServiceCertificate({ serviceName, serviceType: ServiceType.API_SERVICE });
}

// Manual rotation, at the next check. A check runs every minute by itself.
rotationManager.scheduleRotation('ai-conversation-service', new Date());

// Automatic rotation check
const rotated = await rotationManager.checkAndRotateCertificates();
console.log(`Rotated certificates: ${rotated}`);
