import { SidelockError } from '../base/errors.ts';
import { pemBlocks } from '../pki/pem.ts';

/** What a device is given, as the guide names it. PEM texts; `certificate` is the leaf, then its issuer. */
export interface DeviceCredentials {
  readonly certificate: string;
  readonly private_key: string;
  readonly ca_certificate: string;
}

export const DEVICE_FORMATS = ['json', 'pem', 'der', 'c-header', 'nvs-csv'] as const;
export type DeviceFormat = (typeof DEVICE_FORMATS)[number];

export interface DeviceFile {
  readonly name: string;
  readonly data: Buffer | string;
  /** Holds the private key. */
  readonly secret: boolean;
}

/** The files of one device. `name` is a service name, so it is safe as part of a path and of a C identifier. */
export function deviceFiles(name: string, credentials: DeviceCredentials, format: DeviceFormat): DeviceFile[] {
  const { certificate, private_key, ca_certificate } = credentials;
  switch (format) {
    case 'json':
      return [{ name: `${name}.json`, data: `${JSON.stringify(credentials, undefined, 2)}\n`, secret: true }];
    case 'pem':
      return [
        { name: `${name}.cert.pem`, data: certificate, secret: false },
        { name: `${name}.key.pem`, data: private_key, secret: true },
        { name: `${name}.ca.pem`, data: ca_certificate, secret: false },
      ];
    case 'der':
      return [
        ...ders(certificate).map((data, i) => ({
          name: `${name}.${i === 0 ? 'cert' : `issuer${i}`}.der`,
          data,
          secret: false,
        })),
        ...ders(private_key).map((data) => ({ name: `${name}.key.der`, data, secret: true })),
        ...ders(ca_certificate).map((data, i) => ({ name: `${name}.ca${i === 0 ? '' : i}.der`, data, secret: false })),
      ];
    case 'c-header':
      return [{ name: `${name}.h`, data: cHeader(name, credentials), secret: true }];
    case 'nvs-csv':
      return [{ name: `${name}.nvs.csv`, data: nvsCsv(credentials), secret: true }];
  }
}

function ders(pem: string): Buffer[] {
  return pemBlocks(pem, 'the certificate of the device').map(({ der }) => der);
}

/** PEM strings as esp_tls and mbedTLS take them; their length counts the NUL at the end. */
function cHeader(name: string, credentials: DeviceCredentials): string {
  const guard = `SIDELOCK_${name.toUpperCase().replaceAll('-', '_')}_H`;
  const strings = Object.entries(credentials).map(([field, pem]: [string, string]) => {
    const lines = pem
      .trimEnd()
      .split('\n')
      .map((line) => `    "${line}\\n"`);
    return `static const char device_${field}[] =\n${lines.join('\n')};\n`;
  });
  return `/* ${name}: made by sidelock. Holds a private key. */\n#ifndef ${guard}\n#define ${guard}\n\n${strings.join('\n')}\n#endif\n`;
}

/** Input of ESP-IDF's nvs_partition_gen.py: a namespace and three strings, quoted as CSV. */
function nvsCsv({ certificate, private_key, ca_certificate }: DeviceCredentials): string {
  const row = (key: string, value: string) => {
    // A string in NVS holds 4000 bytes at most, its NUL among them.
    if (Buffer.byteLength(value) >= 4000) {
      throw new SidelockError('SL-USAGE-001', `${key} is too long for a string in NVS`, {
        why: `it has ${value.length} bytes; 3999 fit`,
        fix: 'use --format der',
      });
    }
    return `${key},data,string,"${value}"\n`;
  };
  return `key,type,encoding,value\nmtls,namespace,,\n${row('certificate', certificate)}${row('private_key', private_key)}${row('ca_cert', ca_certificate)}`;
}
