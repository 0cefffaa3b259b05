import t from 'tap';
import { SERVICE_TYPES as CONFIG } from '../../../src/config/fields.ts';
import { SERVICE_TYPES as PROFILES } from '../../../src/pki/profiles.ts';

t.strictSame(CONFIG, PROFILES, 'config knows the types that there are profiles of');
