import puppeteer, { type Browser } from 'puppeteer-core';
import { requireProgram } from './programs.ts';

/** Chromium, which ends with the test; undefined, and the test skipped, where there is none. */
export async function openBrowser(t: Parameters<typeof requireProgram>[0] & Teardown): Promise<Browser | undefined> {
  const executablePath = requireProgram(t, 'chromium');
  if (executablePath === undefined) return undefined;
  // Root has no sandbox of its own here; the page is ours.
  const args = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];
  const browser = await puppeteer.launch({ executablePath, args });
  t.teardown(() => browser.close());
  return browser;
}

interface Teardown {
  teardown(end: () => Promise<void>): void;
}
