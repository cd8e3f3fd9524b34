// Chromium on this machine, with a window for each visitor.
//
// usage: browser.mjs MODULES CHROMIUM
//
// MODULES is the directory of node_modules. Each line of standard input is a task, a line of standard output what came of it.
// It ends with its input.
//
// A task: `window`, a name, and `task`:
// open     a new window at `address`
// until    waits until the element `id` has a text that `pattern` matches, or a number that is at `least` so large; `text` is
//          that
// seen     `texts`, all that the elements have shown, by their ids
// drop     breaks the connection of the app, which then has to reconnect
// close    the window

import { FLAGS, LONGEST, playwright, serve } from '../sign-in/chromium.mjs';

const [modules, executablePath] = process.argv.slice(2);
const chromium = await playwright(modules);
const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS });
const windows = new Map();

// Runs in the page, before anything of it.
function watch() {
  window.seen = {};
  new MutationObserver(() => {
    for (const element of document.querySelectorAll('.shiny-text-output')) {
      const texts = (window.seen[element.id] ??= []);
      const text = element.textContent;
      if (text && !texts.includes(text)) texts.push(text);
    }
  }).observe(document, { childList: true, subtree: true, characterData: true });
}

const tasks = {
  async open({ window: name, address }) {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(LONGEST);
    await page.addInitScript(watch);
    windows.set(name, page);
    await page.goto(address);
  },
  async until({ window: name, id, pattern = '', least }) {
    const page = windows.get(name);
    const shows = ([id, pattern, least]) => {
      const text = document.getElementById(id)?.textContent ?? '';
      return new RegExp(pattern).test(text) && (least === undefined || Number(text) >= least);
    };
    await page.waitForFunction(shows, [id, pattern, least]);
    return { text: await page.textContent(`#${id}`) };
  },
  async seen({ window: name }) {
    return { texts: await windows.get(name).evaluate(() => window.seen) };
  },
  async drop({ window: name }) {
    await windows.get(name).evaluate(() => window.Shiny.shinyapp.$socket.close());
  },
  async close({ window: name }) {
    await windows.get(name).context().close();
    windows.delete(name);
  },
};

await serve(async (task) => (await tasks[task.task](task)) ?? {});
await browser.close();
