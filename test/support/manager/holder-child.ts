import { openManager, shiftedClock } from './rig.ts';

/** Opens the manager of a storage, issues once, says `ready` and holds on until it is killed. */
const manager = await openManager(process.argv[2] ?? '', shiftedClock());
await manager.initializeServiceCertificate({ serviceName: 'orders', serviceType: 'api_service' });
process.stdout.write('ready\n');
setInterval(() => manager.blockers(), 1000);
