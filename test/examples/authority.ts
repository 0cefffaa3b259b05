/** Guide: "Service Certificate Generation": key and certificate for you to keep, nothing of them in the store. */
import { X509Certificate } from 'node:crypto';
import { getMtlsManager, ServiceType } from '../../src/index.ts';

await using mtlsManager = await getMtlsManager();

const { privateKey, certificate } = await mtlsManager.ca.generateServiceCertificate({
  serviceName: 'child-data-service',
  serviceType: ServiceType.CHILD_SERVICE,
  additionalSans: ['child-service.internal'],
});
console.log(new X509Certificate(certificate).subjectAltName);
console.log(privateKey.startsWith('-----BEGIN PRIVATE KEY-----'));
