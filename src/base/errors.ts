/** What `sidelock explain CODE` prints and what the table of docs/reference/errors.md is made of. */
interface ErrorPage {
  readonly title: string;
  readonly why: string;
  readonly fix: string;
}

/** The one list of stable error codes. A code is never reused for another meaning. */
export const ERROR_PAGES = {
  'SL-PEM-001': {
    title: 'not a PEM file',
    why: 'The file holds no BEGIN line. It may be DER, empty, or something else.',
    fix: 'Convert DER with: openssl x509 -inform der -in FILE -out cert.pem',
  },
  'SL-PEM-002': {
    title: 'wrong kind of PEM block',
    why: 'The file holds another kind of block than its name promises; certificate and key may be swapped.',
    fix: 'Put the certificate in cert.pem and the private key in key.pem.',
  },
  'SL-PEM-003': {
    title: 'PEM block cut short',
    why: 'A writer was interrupted, or the file is still being copied.',
    fix: 'Write to a temporary file and rename it over the old one.',
  },
  'SL-PEM-004': {
    title: 'PEM block does not parse',
    why: 'The base64 text or the DER inside it is damaged.',
    fix: 'Write the file again from its source.',
  },
  'SL-PEM-005': {
    title: 'private key cannot be decrypted',
    why: 'The key is encrypted and the passphrase is missing or wrong.',
    fix: 'Give the passphrase by file, or decrypt the key with: openssl pkey -in key.pem -out key.pem',
  },
  'SL-PAIR-001': {
    title: 'key does not belong to certificate',
    why: 'The public key of the certificate differs from that of the key file.',
    fix: 'Replace certificate and key together.',
  },
  'SL-CERT-001': {
    title: 'certificate expired',
    why: 'It was not renewed in time; the log of renewals says why.',
    fix: 'Start the manager; a sidecar that enrolled renews by itself within its grace.',
  },
  'SL-CERT-002': {
    title: 'certificate unfit to be served',
    why: 'It breaks a rule that peers check, so they would refuse it.',
    fix: 'Issue the certificate again: sidelock generate --service NAME',
  },
  'SL-CERT-003': {
    title: 'certificate does not chain to its bundle',
    why: 'No path leads from cert.pem to a root of ca.pem.',
    fix: 'Put the intermediates into cert.pem (leaf first) and the root into ca.pem.',
  },
  'SL-CERT-004': {
    title: 'certificate is not for this service',
    why: 'Its SPIFFE id differs from the one this service must have.',
    fix: 'Issue a certificate for the right service.',
  },
  'SL-CLOCK-001': {
    title: 'certificate not yet valid',
    why: 'This clock is behind, or the clock that issued the certificate is ahead.',
    fix: 'Set the clock: timedatectl set-ntp true',
  },
  'SL-BUNDLE-001': {
    title: 'trust bundle is empty',
    why: 'The bundle holds no certificate; without one nobody, or anybody, could be trusted.',
    fix: 'Put the root certificate of your manager into ca.pem.',
  },
  'SL-BUNDLE-002': {
    title: 'trust bundle holds an unfit root',
    why: 'A root must be a CA certificate (CA:TRUE, keyCertSign), self-signed, in date, with a strong key.',
    fix: 'Remove it from the bundle or replace it.',
  },
  'SL-NAME-001': {
    title: 'not a SPIFFE id',
    why: 'It breaks the SPIFFE-ID specification; no normalisation is done.',
    fix: 'Use spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE',
  },
  'SL-NAME-002': {
    title: 'not a service name',
    why: 'Names of services and namespaces are DNS labels: a-z, 0-9 and -, 63 characters at most.',
    fix: 'Choose another name.',
  },
  'SL-NAME-003': {
    title: 'not a DNS name or IP address',
    why: 'A name in a certificate must be exact: no wildcard, port, upper case or trailing dot.',
    fix: 'Correct the name.',
  },
  'SL-NAME-004': {
    title: 'name not allowed',
    why: 'The policy of the manager does not let this service have that name.',
    fix: 'Add a suffix to certificates.allowedSans, or ask for another name.',
  },
  'SL-KEY-001': {
    title: 'key not accepted',
    why: 'Allowed are RSA 2048, 3072 and 4096 (e = 65537), EC P-256 and P-384, and Ed25519.',
    fix: 'Make a new key of an allowed type.',
  },
  'SL-CSR-001': {
    title: 'certificate request does not parse',
    why: 'It is not one strict DER PKCS#10 structure of at most 8 KiB.',
    fix: 'Make a new request.',
  },
  'SL-CSR-002': {
    title: 'certificate request is not signed by its key',
    why: 'The proof of possession does not verify.',
    fix: 'Sign the request with the private key of the public key inside it.',
  },
  'SL-CSR-003': {
    title: 'key already in use by another identity',
    why: 'One key must never stand for two services.',
    fix: 'Make a new key.',
  },
  'SL-FS-001': {
    title: 'file cannot be read',
    why: 'The file is missing, or its owner or mode keeps this process out.',
    fix: 'Check the path, its owner and mode.',
  },
  'SL-FS-002': {
    title: 'private key readable by others',
    why: 'Anyone who can read the key can be this service.',
    fix: 'chmod 0600 key.pem',
  },
  'SL-FS-003': {
    title: 'file cannot be written',
    why: 'The disk is full or the directory does not let this process write. The old files are untouched.',
    fix: 'Make room or correct the owner of the directory.',
  },
  'SL-STORE-001': {
    title: 'no such certificate',
    why: 'The store holds nothing of that name.',
    fix: 'sidelock list   shows what is there; sidelock generate --service NAME makes one.',
  },
  'SL-STORE-002': {
    title: 'another manager holds the storage',
    why: 'Two managers on one store would sign and rotate against each other.',
    fix: 'Use the one that runs, or give this one its own --storage.',
  },
  'SL-STORE-003': {
    title: 'storage is not usable',
    why: 'A file of the store is damaged or has an unsafe owner or mode.',
    fix: 'Restore it from a backup, or correct the mode the message names.',
  },
  'SL-CA-001': {
    title: 'certificate authority cannot be opened',
    why: 'Its key or certificate is missing, damaged or does not match.',
    fix: 'Restore .sidelock/ca from a backup. A new CA is never made over an old one.',
  },
  'SL-CA-002': {
    title: 'passphrase of the CA key is missing or wrong',
    why: 'The CA key is encrypted at rest.',
    fix: 'Set ca.passphraseFile (MTLS_CA_PASSPHRASE_FILE) to a file with the passphrase.',
  },
  'SL-CA-003': {
    title: 'certificate authority cannot issue now',
    why: 'The CA certificate is out of date, or the clock is before the newest certificate it signed.',
    fix: 'Check the clock of this machine.',
  },
  'SL-CA-004': {
    title: 'certificate authority cannot be imported',
    why: 'Something is wrong with it; nothing was changed.',
    fix: 'sidelock ca import --dry-run   says all that is wrong, each with what to do',
  },
  'SL-CA-005': {
    title: 'key of the root is offline',
    why: 'Only the root itself can sign this, and its key was taken out of the storage.',
    fix: 'Put it back: sidelock ca online FILE, and afterwards sidelock ca offline again.',
  },
  'SL-CA-006': {
    title: 'key of the root cannot be taken offline or put back',
    why: 'Nothing else could sign, or the file does not hold the key of this root. Nothing was changed.',
    fix: 'sidelock trust status   shows the roots and where their keys are.',
  },
  'SL-TRUST-001': {
    title: 'somebody is not ready for this step on trust',
    why: 'The step would leave parties that cannot talk to each other.',
    fix: 'sidelock trust status   names them; for what is gone: sidelock revoke --serial SERIAL, or --absent DURATION',
  },
  'SL-TRUST-002': {
    title: 'step on trust out of turn',
    why: 'A root follows another by stage, activate and retire, in this order.',
    fix: 'sidelock trust status   says which is next.',
  },
  'SL-BAK-001': {
    title: 'backup cannot be restored',
    why: 'It is no backup of ours, was changed or cut short. Nothing was written.',
    fix: 'Take another copy of it, or an older backup.',
  },
  'SL-BAK-002': {
    title: 'passphrase of the backup is missing or wrong',
    why: 'A backup holds the key of the CA, so it is always encrypted.',
    fix: 'Give --passphrase-file, or MTLS_BACKUP_PASSPHRASE_FILE.',
  },
  'SL-BAK-003': {
    title: 'storage is not empty',
    why: 'A restore replaces nothing, so that it cannot destroy a CA.',
    fix: 'Restore into another --storage, or move the old one away first.',
  },
  'SL-TOK-001': {
    title: 'join token not valid',
    why: 'It was not made by this manager, or it was changed or cut.',
    fix: 'sidelock token create SERVICE',
  },
  'SL-TOK-002': {
    title: 'join token already used',
    why: 'A token works once. If you did not use it, somebody else did.',
    fix: 'Look at the audit log, then: sidelock token create SERVICE',
  },
  'SL-TOK-003': {
    title: 'join token expired',
    why: 'Tokens live for minutes.',
    fix: 'sidelock token create SERVICE',
  },
  'SL-TOK-004': {
    title: 'join token is for another service',
    why: 'The service it was made for is part of the signed token.',
    fix: 'Create a token for this service.',
  },
  'SL-TOK-005': {
    title: 'manager is not the one to trust',
    why: 'The root certificate of the manager met is not the one that the join token, or the config, pins. The token was not sent.',
    fix: 'Check the address of the manager, or create a token on the manager you mean.',
  },
  'SL-POD-001': {
    title: 'ServiceAccount token refused',
    why: 'The cluster does not vouch for it, it is for another audience, or it is bound to no pod.',
    fix: 'Mount a projected token with the audience certificate.ai-teddy.com/ca, as sidelock inject does.',
  },
  'SL-POD-002': {
    title: 'pod may not enrol',
    why: 'It is gone, ending, or not the service that its sidecar claims to be.',
    fix: 'The message says what is wrong with the pod.',
  },
  'SL-POD-003': {
    title: 'manager takes no pods',
    why: 'It was not told to ask a cluster who they are.',
    fix: 'Set kubernetes.pods: on in the config of the manager (MTLS_KUBERNETES_PODS=on).',
  },
  'SL-MGR-001': {
    title: 'manager not reachable',
    why: 'Its name does not resolve, nothing listens, or it does not answer in time.',
    fix: 'Start the manager or correct its address. Serving goes on with the certificate on disk.',
  },
  'SL-MGR-002': {
    title: 'manager answered something unusable',
    why: 'The answer breaks the contract: another key, name, root, or no valid document.',
    fix: 'Check that the address is that of a sidelock manager of this version.',
  },
  'SL-MGR-003': {
    title: 'manager refused the request',
    why: 'The message says why.',
    fix: 'Correct what the message names.',
  },
  'SL-API-001': {
    title: 'request not understood',
    why: 'A field is missing, of the wrong type, or unknown.',
    fix: 'Send what the API schema says.',
  },
  'SL-API-002': {
    title: 'caller may not do that',
    why: 'The call needs the unix socket, an admin certificate, or the right identity.',
    fix: 'Run the command on the machine of the manager.',
  },
  'SL-API-003': {
    title: 'too many requests',
    why: 'A limit per caller was reached.',
    fix: 'Wait for the time the answer gives in Retry-After.',
  },
  'SL-API-004': {
    title: 'internal error of the manager',
    why: 'A fault on the side of the manager; its log has the details under the id of the answer.',
    fix: 'Look at the log of the manager.',
  },
  'SL-CRL-001': {
    title: 'revocation list refused',
    why: 'It is empty, damaged, of another issuer, out of date or older than one already seen; the one before stays in force.',
    fix: 'Put the current list of the issuer there; that of a sidelock manager is crl.pem in its storage.',
  },
  'SL-NET-001': {
    title: 'port in use',
    why: 'Another process listens there.',
    fix: 'Stop it or change the listen address the message names.',
  },
  'SL-NET-002': {
    title: 'cannot listen',
    why: 'The address is not of this machine, or the port needs a privilege.',
    fix: 'Change the listen address the message names.',
  },
  'SL-NET-003': {
    title: 'this system cannot share a port',
    why: 'Several workers listen on one port, which Linux and FreeBSD can deal out and others cannot.',
    fix: 'Use workers: 1 here.',
  },
  'SL-CFG-001': {
    title: 'config file cannot be read',
    why: 'It is missing or not readable.',
    fix: 'Check the path given with --config.',
  },
  'SL-CFG-002': {
    title: 'config file is not valid YAML',
    why: 'The line and column are in the message.',
    fix: 'Correct the line.',
  },
  'SL-CFG-003': {
    title: 'config value not valid',
    why: 'The message names the key, what was expected and what was found.',
    fix: 'Correct the value.',
  },
  'SL-CFG-004': {
    title: 'unknown config key',
    why: 'Unknown keys are errors, so that a misspelt rule is never silently off.',
    fix: 'Use the key the message suggests, or: sidelock config schema',
  },
  'SL-CFG-005': {
    title: 'inbound without allow',
    why: 'Nothing is allowed by accident: each inbound needs its list of callers.',
    fix: 'Add allow: [SERVICE], or the explicit word allow: any',
  },
  'SL-CFG-006': {
    title: 'config file cannot be edited',
    why: 'The place is an alias, or not what it seems: what would come out was compared with what was wanted.',
    fix: 'Make the change by hand; sidelock config validate FILE checks it.',
  },
  'SL-TLS-001': {
    title: 'handshake failed',
    why: 'The reason in the line says what happened.',
    fix: 'Look at the log of the other side at the same time.',
  },
  'SL-TLS-002': {
    title: 'peer does not speak TLS',
    why: 'The other side sent plaintext.',
    fix: 'Use the mTLS port of the peer, or the local port of your own sidecar.',
  },
  'SL-TLS-003': {
    title: 'peer was signed by a CA we do not trust',
    why: 'Its issuer is not in our bundle.',
    fix: 'Compare the key ids of both bundles: GET /identity on the admin port of either sidecar.',
  },
  'SL-TLS-004': {
    title: 'certificate of peer out of date',
    why: 'It expired, or is not valid yet by our clock.',
    fix: 'Look at the renewals of that sidecar and at both clocks.',
  },
  'SL-TLS-005': {
    title: 'peer showed no certificate',
    why: 'The caller has no sidecar, or speaks to the mTLS port directly.',
    fix: 'Call through the local port of a sidecar.',
  },
  'SL-TLS-006': {
    title: 'peer is somebody else',
    why: 'Its SPIFFE id is not one that we expect there.',
    fix: 'Correct expect, or the address of the upstream.',
  },
  'SL-TLS-007': {
    title: 'peer hung up after the handshake',
    why: 'In TLS 1.3 a server judges our certificate after we are done: it most likely refused ours.',
    fix: 'Look at its log for the serial in this line.',
  },
  'SL-TLS-008': {
    title: 'handshake timed out',
    why: 'The other side did not finish the handshake in time.',
    fix: 'Check the network and the load of the peer.',
  },
  'SL-TLS-009': {
    title: 'no TLS parameters in common',
    why: 'Versions, ciphers, groups or application protocols do not overlap.',
    fix: 'We need TLS 1.3 unless tls.minVersion says otherwise.',
  },
  'SL-TLS-010': {
    title: 'certificate of peer breaks a rule',
    why: 'Its chain or names are not those of a service identity.',
    fix: 'Issue it again with sidelock, or with a CA that follows the X509-SVID rules.',
  },
  'SL-TLS-011': {
    title: 'peer refused our certificate',
    why: 'It sent an alert that says so, or its sidecar said so by way of the manager.',
    fix: 'The reason names what it disliked; compare both bundles and clocks.',
  },
  'SL-TLS-012': {
    title: 'certificate of the peer is revoked',
    why: 'The revocation list of its issuer names it.',
    fix: 'If the service is still wanted, give it a new identity: sidelock token create SERVICE',
  },
  'SL-TLS-013': {
    title: 'whether the peer is revoked is not known',
    why: 'Our revocation list is out of date, or there is none, and revocation.onStaleCrl is fail.',
    fix: 'Look why there is no newer list (crl_failed in the log), or set revocation.onStaleCrl: warn.',
  },
  'SL-LINK-001': {
    title: 'shared connection broke',
    why: 'The peer vanished, or broke a rule of the protocol that carries streams; the reason says which.',
    fix: 'Look at the log of the peer at the same time. streams: off gives each connection its own.',
  },
  'SL-APP-001': {
    title: 'app not listening',
    why: 'Nothing answers at the target address.',
    fix: 'Start the app or correct inbound[].target.',
  },
  'SL-UP-001': {
    title: 'upstream not reachable',
    why: 'Its name does not resolve, nothing listens, or it does not answer in time.',
    fix: 'Check outbound[].address.',
  },
  'SL-UP-002': {
    title: 'endpoint left out',
    why: 'Connects, handshakes or answers of one endpoint failed several times in a row; the others take its share.',
    fix: 'Look at the lines before, and at the log of that endpoint. GET /endpoints on the admin port lists all.',
  },
  'SL-FWD-001': {
    title: 'not an upstream of the forward proxy',
    why: 'The forward proxy leads to the outbounds of its config, by name, and nowhere else.',
    fix: 'Use the name of an outbound, add one, or put the host into NO_PROXY.',
  },
  'SL-FWD-002': {
    title: 'not a request for the forward proxy',
    why: 'It takes requests for http://NAME/ and CONNECT NAME:PORT.',
    fix: 'Set HTTP_PROXY to it; do not call it as if it were the server.',
  },
  'SL-DNS-001': {
    title: 'name does not resolve',
    why: 'No name server answered, or none knows the name. Addresses that are known stay in use.',
    fix: 'Correct outbound[].address, or dns.servers.',
  },
  'SL-HTTP-001': {
    title: 'request refused',
    why: 'It breaks a rule of HTTP/1.1 that two servers could read in two ways, or did not come in time.',
    fix: 'x-sidelock-reason names the rule; correct the client, or use protocol: tcp for what is not HTTP/1.1.',
  },
  'SL-HTTP-002': {
    title: 'no valid response',
    why: 'The other side closed before it answered, or its response breaks a rule of HTTP/1.1.',
    fix: 'Look at its log; sidelock_http_rejected_total counts the rules.',
  },
  'SL-HTTP-004': {
    title: 'HTTP/2 connection closed',
    why: 'Its other side sent more of what costs and carries nothing than anybody needs, or broke the protocol.',
    fix: 'sidelock_http2_closed_total and the log name the reason; look at that peer.',
  },
  'SL-HTTP-003': {
    title: 'no response in time',
    why: 'The other side took the request and did not answer within limits.requestTimeout.',
    fix: 'Find out what it waits for, or raise the limit.',
  },
  'SL-AUTHZ-001': {
    title: 'caller not allowed',
    why: 'No allow rule of the inbound matches its SPIFFE id.',
    fix: 'Add the service to allow.',
  },
  'SL-AUTHZ-002': {
    title: 'request not allowed',
    why: 'The caller may connect, but no allow rule for it has this method and path, or the path can be read in two ways.',
    fix: 'Add method and path to the rule of the caller.',
  },
  'SL-MODE-001': {
    title: 'not ready for strict',
    why: 'Somebody called the listener without TLS within the window, or it was not watched for so long.',
    fix: 'Give those callers a sidecar and wait, or cut them off knowingly: --force',
  },
  'SL-MODE-002': {
    title: 'change of mode not taken up',
    why: 'The file has the new mode, but the running sidecar does not follow it: it was started with another one, or a variable or flag says otherwise.',
    fix: 'Look at its log for config_reloaded, or restart it with --config FILE.',
  },
  'SL-ADMIN-001': {
    title: 'sidecar does not answer',
    why: 'Nothing answers at the admin address, or it is not a sidecar of this version.',
    fix: 'Give --admin HOST:PORT as in admin.listen of the sidecar; without that key it has no admin endpoints.',
  },
  'SL-LIMIT-001': {
    title: 'connection limit reached',
    why: 'As many connections are open as limits.maxConnections allows.',
    fix: 'Raise the limit or find the caller that keeps connections open.',
  },
  'SL-LIMIT-002': {
    title: 'limit of an upstream reached',
    why: 'As many connections or requests as one upstream may take are open, or wait for it.',
    fix: 'Find out why it is slow, or raise outbound[].limits.',
  },
  'SL-LIMIT-003': {
    title: 'a caller has too many connections',
    why: 'One caller has as many connections open as limits.maxConnectionsPerCaller allows; others are served.',
    fix: 'Find out why it keeps them open, or raise the limit.',
  },
  'SL-LIMIT-004': {
    title: 'too many failed handshakes from one address',
    why: 'Each costs a signature; beyond limits.failedHandshakes a second its connections are closed before TLS begins.',
    fix: 'Mend the caller (the log says why its handshakes fail), or raise the limit where many share an address.',
  },
  'SL-LIMIT-005': {
    title: 'no file descriptors to spare',
    why: 'One more connection could take those that reading certificates and answering at the admin endpoints need.',
    fix: 'Raise ulimit -n (LimitNOFILE of systemd) to twice limits.maxConnections and 100 more.',
  },
  'SL-LIMIT-006': {
    title: 'no memory to spare',
    why: 'The process and the sockets of its container hold limits.maxMemory, or 70 % of what the container may use.',
    fix: 'Give it more memory, or lower limits.maxConnections.',
  },
  'SL-LIMIT-007': {
    title: 'TLS records that carry nothing',
    why: 'A peer sent more than 128 KiB of KeyUpdates in a second, each of which costs more than a record of content; its certificate is refused for 10 s.',
    fix: 'Find out what the peer runs: no TLS library does this by itself.',
  },
  'SL-USAGE-001': {
    title: 'wrong usage',
    why: 'The command line is not understood.',
    fix: 'sidelock COMMAND --help',
  },
  'SL-ENV-001': {
    title: 'unsafe environment',
    why: 'A variable or Node flag would switch off a protection or write secrets to a file.',
    fix: 'Unset the variable the message names.',
  },
  'SL-ENV-002': {
    title: 'Node is too old',
    why: 'Before 26.10 Node does not show a TLS client the whole chain of its peer, or ends a connection without saying so in TLS.',
    fix: 'Use Node 26.10 or newer. The image brings its own.',
  },
  'SL-RUN-001': {
    title: 'command cannot be started',
    why: 'The program after -- was not found or may not be executed.',
    fix: 'Check the path of the program.',
  },
  'SL-HOOK-001': {
    title: 'not a review of an API server',
    why: 'The webhook answers AdmissionReview v1 at POST /mutate, up to 8 MiB.',
    fix: 'Let the MutatingWebhookConfiguration be as sidelock install prints it.',
  },
  'SL-WORK-001': {
    title: 'a worker thread ended',
    why: 'An error that nobody expected, or memory ran out. The others serve on, and it is started again.',
    fix: 'Report the error in the log line; give the process more memory if that ran out.',
  },
  'SL-KUBE-001': {
    title: 'Kubernetes API server not reachable',
    why: 'No kubeconfig leads to one, or it does not answer.',
    fix: 'Try: kubectl get --raw /readyz',
  },
  'SL-KUBE-002': {
    title: 'Kubernetes refused the request',
    why: 'The answer of the API server is in the message; with 403 it names the missing right.',
    fix: 'Give the account that right, or correct the namespace.',
  },
  'SL-KUBE-003': {
    title: 'Secret belongs to somebody else',
    why: 'It does not carry our label, so it is never written to.',
    fix: 'Rename or delete it, or choose another service name.',
  },
  'SL-KUBE-005': {
    title: 'sidelock is still in the cluster',
    why: 'Somebody depends on it, or what was deleted has not ended; the message names them.',
    fix: 'Do what the message says, then run sidelock uninstall --wait again: it may be repeated.',
  },
  'SL-HA-001': {
    title: 'this manager leads no more',
    why: 'It could not renew its Lease in time, or another one has taken it. What it had not committed never happened.',
    fix: 'Nothing: another replica leads, and this one is started again. When it happens often, look at the API server.',
  },
  'SL-HA-002': {
    title: 'another replica leads',
    why: 'The state of the manager is in Secrets, and only the replica that leads answers commands.',
    fix: 'Run the command in the pod that the message names, or: kubectl get lease sidelock-manager',
  },
} as const satisfies Record<`SL-${string}-${number}`, ErrorPage>;

export type ErrorCode = keyof typeof ERROR_PAGES;

interface SidelockErrorOptions {
  /** The fact found, with values. */
  readonly why?: string | undefined;
  /** A command or an edit. Defaults to the fix of the code's page. */
  readonly fix?: string | undefined;
  readonly cause?: unknown;
  /** Values for machines: paths, serials, reasons. Never a secret. */
  readonly data?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Every failure a user can meet. `message` says what failed and names it (file, port, peer, key);
 * `why`, `fix` and `code` complete the anatomy that the command line prints.
 */
export class SidelockError extends Error {
  override readonly name = 'SidelockError';
  readonly code: ErrorCode;
  readonly why: string | undefined;
  readonly fix: string;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: SidelockErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.why = options.why;
    this.fix = options.fix ?? ERROR_PAGES[code].fix;
    this.data = options.data ?? {};
  }
}

/** Several failures found together, so that one run shows them all. */
export class SidelockErrors extends Error {
  override readonly name = 'SidelockErrors';
  readonly errors: readonly SidelockError[];

  constructor(message: string, errors: readonly SidelockError[]) {
    super(message);
    this.errors = errors;
  }
}

export function isSidelockError(error: unknown, code?: ErrorCode): error is SidelockError {
  return error instanceof SidelockError && (code === undefined || error.code === code);
}

/** The `code` of a Node system or OpenSSL error (`ENOENT`, `ERR_SSL_…`), or undefined. */
export function nodeCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** True for the rejection that an aborted AbortSignal causes; not a failure, never logged as one. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || nodeCode(error) === 'ABORT_ERR');
}
