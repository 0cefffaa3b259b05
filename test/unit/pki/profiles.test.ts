import t from 'tap';
import { KEY_TYPES } from '../../../src/pki/keys.ts';
import { parseServiceType, profileOf, SERVICE_TYPES } from '../../../src/pki/profiles.ts';
import { failureOf } from '../../support/failure.ts';

t.test('each type of the guide has a profile', async (t) => {
  for (const type of SERVICE_TYPES) {
    t.equal(parseServiceType(type), type);
    const { validityDays, eku, keyTypes } = profileOf(type);
    t.equal(validityDays, 90);
    t.equal(eku.length, 2);
    t.same(keyTypes, KEY_TYPES);
  }
});

t.test('an override touches its own type and field only', async (t) => {
  const overrides = { database: { validityDays: 7 } } as const;
  t.match(profileOf('database', overrides), { validityDays: 7, keyTypes: KEY_TYPES });
  t.equal(profileOf('cache', overrides).validityDays, 90);
});

t.test('an unknown type is refused with the list of those there are', async (t) => {
  for (const text of ['AI_SERVICE', '', 'device', '__proto__', 'x\n']) {
    const error = failureOf(() => parseServiceType(text));
    t.equal(error.code, 'SL-API-001');
    t.match(error.why, /ai_service, child_service/);
    t.notMatch(error.message, /\n/);
  }
});
