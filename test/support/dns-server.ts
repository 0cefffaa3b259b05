import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Test } from 'tap';

/** What is known of a name: addresses, SRV records as `priority weight port target`, a code to refuse with, or silence. */
export interface Zone {
  [name: string]: { A?: readonly string[]; SRV?: readonly string[]; rcode?: number; silent?: boolean };
}

const TYPES: Readonly<Record<number, 'A' | 'SRV'>> = { 1: 'A', 33: 'SRV' };

/** A name server on loopback that answers from `zone` as it is at that moment; ends with the test. */
export async function startDns(t: Test, zone: Zone) {
  const socket = createSocket('udp4');
  let questions = 0;
  socket.on('message', (message, from) => {
    questions++;
    const reply = answer(message, zone);
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  return { server: `127.0.0.1:${socket.address().port}`, questions: () => questions };
}

/** RFC 1035 4: the header and question come back, with what the zone has for it. */
function answer(query: Buffer, zone: Zone): Buffer | undefined {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const questionEnd = at + 5;
  const type = TYPES[query.readUInt16BE(at + 1)];
  const known = zone[labels.join('.').toLowerCase()];
  if (known?.silent === true) return undefined;
  const data = type === undefined ? [] : (known?.[type] ?? []).map(type === 'A' ? address : service);
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8180 | (known?.rcode ?? (known === undefined ? 3 : 0)), 2);
  header.writeUInt16BE(data.length, 6);
  header.writeUInt32BE(0, 8);
  const records = data.map((rdata) => {
    const head = Buffer.alloc(12);
    head.writeUInt16BE(0xc00c, 0);
    head.writeUInt16BE(query.readUInt16BE(at + 1), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(rdata.length, 10);
    return Buffer.concat([head, rdata]);
  });
  return Buffer.concat([header, query.subarray(12, questionEnd), ...records]);
}

function address(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

function service(text: string): Buffer {
  const [priority, weight, port, target = ''] = text.split(' ');
  const numbers = Buffer.alloc(6);
  [priority, weight, port].forEach((value, i) => void numbers.writeUInt16BE(Number(value), i * 2));
  const name = target.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'));
  return Buffer.concat([numbers, ...name, Buffer.from([0])]);
}
