/** Leaf first, then its chain. */
export const CERT_FILE = 'cert.pem';
/** PKCS#8. */
export const KEY_FILE = 'key.pem';
/** The trust bundle. */
export const CA_FILE = 'ca.pem';

/** The revocation lists, in the storage of a manager. */
export const CRL_FILE = 'crl.pem';

/** The link that is swapped: every visible file points through it into one generation directory. */
export const DATA_LINK = '..data';

/** Hidden directory of the manager's own state, under the storage path. */
export const STATE_DIR = '.sidelock';

export const KEY_MODE = 0o600;
export const CERT_MODE = 0o644;
export const DIRECTORY_MODE = 0o700;
