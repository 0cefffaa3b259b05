/** What two sides have said of leaving a session: each may ask, tell, and wait for the other's word. */
export class Farewell {
  /** The peer wants us to leave as soon as we can. It serves our streams until we did, unless it asks again. */
  asked = false;
  /** We open no stream any more. */
  leaving = false;
  /** We told the peer, and did not only ask. */
  told = false;
  /** When we end it whatever is open, ms; undefined while we did not ask. */
  endAt: number | undefined;
  /** Streams that the peer opens now are refused. */
  refusing = false;
  #ping: number | undefined;
  #owed: number | undefined;

  /** We asked: those streams are still served that come before the answer to this ping. */
  asks(ping: number): void {
    this.#ping = ping;
  }

  /** The peer answered a ping. True when it opens no stream any more. */
  answered(ping: number): boolean {
    if (ping !== this.#ping) return false;
    this.refusing = true;
    return true;
  }

  /** Whether the answer to the peer's ping is to wait until we left: the first after it asked. */
  holds(ping: number): boolean {
    if (!this.asked || this.leaving || this.#owed !== undefined) return false;
    this.#owed = ping;
    return true;
  }

  /** We left. The ping to answer now, if any. */
  leaves(): number | undefined {
    const owed = this.leaving ? undefined : this.#owed;
    this.leaving = true;
    return owed;
  }
}
