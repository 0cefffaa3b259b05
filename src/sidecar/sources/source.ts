/** What keeps the identity up to date. */
export interface IdentitySource extends AsyncDisposable {
  /**
   * Asks the manager for a new certificate, or looks at the files, now. Failures are logged and tried again.
   * Rejects with an AbortError when the source ends meanwhile.
   */
  renewNow(): Promise<void>;
}
