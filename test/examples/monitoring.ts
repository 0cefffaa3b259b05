/** Guide: "Monitoring and Alerting". */
import { AlertLevel, getCertificateMonitoringDashboard, getMtlsManager, ServiceType } from '../../src/index.ts';

await using mtlsManager = await getMtlsManager();
await mtlsManager.initializeServiceCertificate({ serviceName: 'orders', serviceType: ServiceType.API_SERVICE });
await using monitoring = await getCertificateMonitoringDashboard();

// Register custom alert handler
monitoring.alertManager.registerAlertHandler(AlertLevel.CRITICAL, async (alert) => {
  console.log(`Certificate Alert: ${alert.serviceName}`, alert.message);
});

// Start monitoring
await monitoring.startMonitoring();

// Get dashboard data
const data = await monitoring.getDashboardData();
console.log(`Total certificates: ${data.metrics.total_certificates >= 1 ? 'some' : 'none'}`);
console.log(`Health percentage: ${data.health.summary.health_percentage.toFixed(1)}%`);
