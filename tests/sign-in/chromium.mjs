// Chromium as the browsers of the tests start it, and the lines by which they are told what to do.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

export const LONGEST = 60_000;
export const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--no-proxy-server',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
];

// Playwright's, from this directory of node_modules.
export async function playwright(modules) {
  const entry = createRequire(join(modules, 'here.js')).resolve('playwright-core');
  return (await import(pathToFileURL(entry))).default.chromium;
}

// Does each line of standard input, until that ends; a line of standard output tells what came of it, or the `failure`.
export async function serve(task) {
  for await (const line of createInterface({ input: process.stdin })) {
    let done;
    try {
      done = await task(JSON.parse(line));
    } catch (error) {
      done = { failure: error.message };
    }
    process.stdout.write(`${JSON.stringify(done)}\n`);
  }
}
