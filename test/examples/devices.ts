/** Guide: "Generate Device Certificates". `sidelock device create` does the same from the command line. */
import { getMtlsManager, ServiceType } from '../../src/index.ts';

await using mtlsManager = await getMtlsManager();

for (const deviceId of ['teddy-bear-001', 'teddy-bear-002', 'teddy-bear-003']) {
  const bundle = await mtlsManager.initializeServiceCertificate({
    serviceName: deviceId,
    serviceType: ServiceType.API_SERVICE,
    additionalSans: [`${deviceId}.devices.ai-teddy.com`],
  });
  const deviceCertData = {
    certificate: bundle.certificate.toString(),
    private_key: bundle.privateKey.toString(),
    ca_certificate: bundle.caCertificate.toString(),
  };
  deployToEsp32(deviceId, deviceCertData);
}

function deployToEsp32(deviceId: string, data: object): void {
  console.log(`${deviceId}: ${Object.keys(data).join(', ')}`);
}
