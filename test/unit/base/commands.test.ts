import t from 'tap';
import { tokenCommand } from '../../../src/base/commands.ts';

t.test('the command for one more token names all that the token must be for', async (t) => {
  t.equal(tokenCommand({ service: 'orders' }), 'sidelock token create orders');
  t.equal(tokenCommand({ service: 'orders', namespace: 'default' }), 'sidelock token create orders');
  t.equal(tokenCommand({ service: 'orders', namespace: 'shop' }), 'sidelock token create orders --namespace shop');
  t.equal(tokenCommand({ service: 'pump', namespace: 'devices', type: 'device' }), 'sidelock device token pump');
});
