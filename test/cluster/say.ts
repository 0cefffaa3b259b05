/** A line for whoever waits. */
export function say(text: string): void {
  process.stdout.write(`cluster: ${text}\n`);
}
