/** Imported into a sidecar (`node --import`) it blocks the event loop for 2 s on SIGUSR2, as a long collection would. */
process.on('SIGUSR2', () => {
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(nobody, 0, 0, 2_000);
});
