// Chromium on this machine, as a person's browser that signs in.
//
// usage: browser.mjs MODULES CHROMIUM DIRECTORY
//
// MODULES is the directory of node_modules, DIRECTORY gets the browser's profiles and the screenshots. Each line of standard
// input is one visit, with a profile of its own; a line of standard output tells how it went. It ends with its input.
//
// A visit: `name` of the screenshots, `address` to start at; `answer` (sign_in, deny, fail) on the tenant's page, with `error`
// if it is to fail, as `user`; before that `first`, a button that leads there; after it `press`, buttons that are pressed one
// after another; `then`, an address that is opened after that, in which STATE stands for the state of the sign-in; `dark`
// and `width` of the window; `certificate`, the fingerprint of the only one that is taken for good without an authority.
// Buttons are CSS selectors.
// How it went: `url`, `title`, `text`, `status` of the last page; `history`, the addresses behind it; `console`, what a
// console would show in red or yellow; `hosts` that were asked; `overflow`, by how many pixels the page is too wide.

import { join } from 'node:path';

import { FLAGS, LONGEST, playwright, serve } from './chromium.mjs';

const [modules, executablePath, directory] = process.argv.slice(2);
const chromium = await playwright(modules);

async function visit({ name, address, first, answer, user, error, press = [], then, dark = false, width = 1000, certificate }) {
  const context = await chromium.launchPersistentContext(join(directory, 'profiles', name), {
    executablePath,
    headless: true,
    args: certificate ? [...FLAGS, `--ignore-certificate-errors-spki-list=${certificate}`] : FLAGS,
    viewport: { width, height: 720 },
    colorScheme: dark ? 'dark' : 'light',
  });
  try {
    const page = context.pages()[0] ?? await context.newPage();
    page.setDefaultTimeout(LONGEST);
    const shown = [];
    const hosts = new Set();
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && shown.push(message.text()));
    page.on('pageerror', (thrown) => shown.push(String(thrown)));
    page.on('dialog', (dialog) => { shown.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('request', (request) => hosts.add(new URL(request.url()).hostname));
    let status;
    page.on('response', (response) => { if (response.request().isNavigationRequest()) status = response.status(); });
    const screenshot = (step) => page.screenshot({ path: join(directory, `${name}${step}.png`), fullPage: true });

    await page.goto(address);
    if (first) {
      await screenshot('-first');
      await Promise.all([page.waitForURL((url) => url.searchParams.has('state')), page.click(first)]);
      await page.waitForLoadState();
    }
    const state = new URL(page.url()).searchParams.get('state');
    if (answer) {
      if (user) await page.check(`label:has-text("${user}") input`);
      await screenshot('-tenant');
      if (answer === 'fail') {
        await page.click('details:has(#error) summary');
        await page.selectOption('#error', error);
      }
      const back = (url) => url.hostname === 'localhost' && !url.searchParams.has('client_id');
      await Promise.all([page.waitForURL(back), page.click(`button[value=${answer}]`)]);
      await page.waitForLoadState();
      // Where a page goes on by itself to an address without a query.
      await page.waitForURL((url) => url.search === '');
    }
    for (const [step, button] of press.entries()) {
      await screenshot(`-${step + 1}`);
      await Promise.all([page.waitForNavigation(), page.click(button)]);
      await page.waitForLoadState();
    }
    if (then) await page.goto(then.replace('STATE', state));
    await screenshot('');

    const session = await context.newCDPSession(page);
    const { entries } = await session.send('Page.getNavigationHistory');
    return {
      url: page.url(),
      title: await page.title(),
      text: await page.innerText('main'),
      status,
      history: entries.map(({ url }) => url),
      console: shown,
      hosts: [...hosts].sort(),
      overflow: await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth),
    };
  } finally {
    await context.close();
  }
}

await serve(visit);
