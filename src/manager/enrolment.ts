import type { Clock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import { createTurns } from '../base/in-turn.ts';
import type { ByProof } from './by-proof.ts';
import type { Inventory, InventoryEntry } from './inventory.ts';
import type { Issuer } from './issuer.ts';
import type { ProvenPod, ReviewPod } from './pods.ts';
import { checkSubject } from './subject.ts';

interface EnrolmentOptions {
  readonly proof: ByProof;
  readonly issuer: Issuer;
  readonly inventory: Inventory;
  /** Asks the cluster who a pod is; pods cannot enrol unless given. */
  readonly reviewPod: ReviewPod | undefined;
  /** For certificates of pods. */
  readonly podIssuer: Issuer;
  readonly clock: Clock;
}

export interface EnrollInput {
  readonly token: string;
  readonly csr: string;
  /** Whom the caller means to be: a token for another one is refused before it is used up. */
  readonly service?: string | undefined;
  readonly namespace?: string | undefined;
  /** Address of the caller. */
  readonly remote: string;
}

export interface EnrollPodInput {
  /** ServiceAccount token. */
  readonly token: string;
  readonly csr: string;
  /** Whom the caller means to be. */
  readonly service: string;
  readonly namespace: string;
  readonly remote: string;
}

export interface CertifyPodInput {
  /** Whom the cluster vouches for. */
  readonly pod: ProvenPod;
  /** DER or PEM. */
  readonly csr: string | Buffer;
  /** Milliseconds: what was asked for, within what its cluster takes. */
  readonly validityMs: number;
}

type PodRequest = Omit<Parameters<Issuer['signCsr']>[0], 'permit' | 'pod'> & {
  readonly pod: NonNullable<InventoryEntry['pod']>;
};

export interface RenewInput {
  /** DER of what the TLS connection showed, leaf first; empty when nothing. */
  readonly chain: readonly Buffer[];
  readonly csr: string;
  readonly remote: string;
}

export interface Enrolment {
  /** @throws SidelockError SL-TOK-001..004, SL-CSR-*, SL-KEY-001, SL-CA-003 */
  enroll(input: EnrollInput): Promise<InventoryEntry>;
  /**
   * The ServiceAccount of the pod gives the SPIFFE id, its Services the DNS names. Pods renew this way too, so that
   * one that is gone gets no more. @throws SidelockError SL-POD-*, SL-KUBE-*, SL-NAME-002, SL-CSR-*, SL-KEY-001, SL-CA-003
   */
  enrollPod(input: EnrollPodInput): Promise<InventoryEntry>;
  /**
   * For a pod whose kubelet asked the cluster; its certificate before is superseded.
   * @throws SidelockError SL-NAME-002, SL-CSR-*, SL-KEY-001, SL-CA-003
   */
  certifyPod(input: CertifyPodInput): Promise<InventoryEntry>;
  /** @throws SidelockError SL-API-002, SL-CERT-001, SL-CSR-*, SL-KEY-001, SL-CA-003 */
  renew(input: RenewInput): Promise<InventoryEntry>;
}

/** Certificates for those who prove who they are: once by a join token, from then on by the current leaf. */
export function createEnrolment(options: EnrolmentOptions): Enrolment {
  const { issuer, inventory, clock } = options;
  const { audited, byToken, byLeaf } = options.proof;

  const inTurn = createTurns();

  /**
   * A pod has one certificate at a time: the one before is not waited for when roots change. In turn: of two at once each
   * would supersede the other, and none would count.
   */
  const issueToPod = (request: PodRequest) =>
    inTurn(request.pod.uid, async () => {
      const entry = await options.podIssuer.signCsr({ ...request, permit: async () => {} });
      for (const { serial, supersededBy } of inventory.ofPod(request.pod.uid)) {
        if (serial === entry.serial || supersededBy !== undefined) continue;
        await inventory.supersede(serial, entry.serial, clock.now());
      }
      return entry;
    });

  return {
    enroll({ service, namespace, ...asked }) {
      return byToken({ ...asked, service }, ({ claims, additionalSans }) => {
        if ((service ?? claims.sub) !== claims.sub || (namespace ?? claims.ns) !== claims.ns) {
          throw new SidelockError('SL-TOK-004', `the join token is not for ${service ?? claims.sub}`, {
            why: `it was made for ${claims.sub} in namespace ${claims.ns}`,
          });
        }
        const subject = { service: claims.sub, namespace: claims.ns, type: claims.type, additionalSans };
        return { issuer, subject: checkSubject(subject, []) };
      });
    },

    async enrollPod({ token, csr, service, namespace, remote }) {
      const { reviewPod } = options;
      const refused = () => Promise.reject(new SidelockError('SL-POD-003', 'this manager enrols no pods'));
      const review = reviewPod ?? refused;
      const proven = await audited({ actor: 'pod', remote, service }, () => review(token, remote));
      const actor = `pod:${proven.namespace}/${proven.pod}`;
      return await audited({ actor, remote, service: proven.serviceAccount }, async () => {
        if (service !== proven.serviceAccount || namespace !== proven.namespace) {
          throw new SidelockError(
            'SL-POD-002',
            `pod ${proven.namespace}/${proven.pod} is not ${namespace}/${service}`,
            {
              why: `its ServiceAccount is ${proven.serviceAccount}, and that is who it is`,
              fix: `let it run as ServiceAccount ${service}, or call the service ${proven.serviceAccount}`,
            },
          );
        }
        const subject = { ...checkSubject({ service, namespace }, []), dnsNames: proven.dnsNames };
        return await issueToPod({ csr, subject, by: 'pod', pod: { name: proven.pod, uid: proven.uid }, actor, remote });
      });
    },

    async certifyPod({ pod: { namespace, serviceAccount: service, pod: name, uid, dnsNames }, csr, validityMs }) {
      const actor = `kubelet:${namespace}/${name}`;
      return await audited({ actor, service }, async () => {
        const subject = { ...checkSubject({ service, namespace }, []), dnsNames };
        return await issueToPod({ csr, subject, by: 'kubelet', pod: { name, uid }, actor, validityMs });
      });
    },

    renew(asked) {
      return byLeaf(asked, ({ proven: { leaf, service, namespace }, presented }) => {
        if (presented?.by === 'pod' || presented?.by === 'kubelet') {
          throw new SidelockError('SL-API-002', `serial ${leaf.serial} of ${service} is not renewed by itself`, {
            why: 'it is that of a pod, which its cluster vouches for each time',
          });
        }
        const subject = { service, namespace, type: presented?.type, additionalSans: presented?.additionalSans };
        return { issuer, subject: checkSubject(subject, []) };
      });
    },
  };
}
