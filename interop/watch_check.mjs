// What a person does with the live pages, done in Chromium: a search is started and watched, stopped from its page, resumed and
// stopped from another server; runs are listed, filtered and compared. Fails on any error in the console, and on any serious
// fault that axe-core finds. Screenshots are left in a folder.
//
//   node interop/watch_check.mjs target/release/archai FOLDER_WITH_NODE_MODULES SCREENSHOTS [CHROMIUM]
//
// FOLDER_WITH_NODE_MODULES has playwright-core and axe-core.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [archai, modules, pictures, chromium = "/usr/bin/chromium"] = process.argv.slice(2);
assert(archai && modules && pictures, "usage: watch_check.mjs ARCHAI NODE_MODULES SCREENSHOTS [CHROMIUM]");
const require = createRequire(path.resolve(modules, "node_modules", "x.js"));
const playwright = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

fs.mkdirSync(pictures, { recursive: true });
const work = fs.mkdtempSync(path.join(os.tmpdir(), "archai-watch-"));
const logdir = path.join(work, "logdir");
const NAME = "darts_fashion_mnist_mini_live";
const search = path.join(logdir, `${NAME}_search`);
const children = [];

/// A program, with what it has said so far.
const start = (args) => {
  const child = spawn(archai, args, { env: { ...process.env, HOME: work } });
  const program = { child, said: "", ended: new Promise((done) => child.on("close", done)) };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => { program.said += part; });
  children.push(child);
  return program;
};

/// Waits until something holds; says what did not.
const until = async (what, holds, seconds = 120) => {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(100)) {
    const found = await holds();
    if (found) return found;
  }
  throw new Error(`waited ${seconds} s for: ${what}`);
};

const address = (program) => until("an address", () => {
  if (program.child.exitCode !== null) throw new Error(program.said);
  return program.said.match(/http:\/\/\S+token=\S+/)?.[0];
}, 60);

const faults = [];
let expected = false;
let step = "";
const doing = (what) => {
  step = what;
  console.log(what);
};
const open = async (browser, url, options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", ...options });
  const page = await context.newPage();
  // While a server is known to be gone, the browser complains about that.
  const note = (text) => { if (!(expected && /ERR_CONNECTION|ERR_INCOMPLETE/.test(text))) faults.push(`while ${step}: ${text}`); };
  page.on("console", (message) => { if (message.type() === "error") note(`console: ${message.text()}`); });
  page.on("pageerror", (error) => note(`script: ${error}`));
  page.on("request", (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:|file:|data:|blob:)/.test(request.url())) note(`loaded from elsewhere: ${request.url()}`);
  });
  await page.goto(url);
  return page;
};

const look = async (page, name, schemes = ["light", "dark"], widths = [1280, 390]) => {
  for (const colorScheme of schemes) {
    for (const width of widths) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) faults.push(`${name} is ${wide} pixels wider than ${width}`);
      await page.screenshot({ path: path.join(pictures, `${name}-${colorScheme}-${width}.png`) });
      await page.screenshot({ path: path.join(pictures, `${name}-${colorScheme}-${width}-whole.png`), fullPage: true });
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
      for (const { id, impact, help, nodes } of found.violations) {
        const place = nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ");
        const text = `${name} (${colorScheme}, ${width}): ${impact}: ${id}: ${help}: ${nodes.length} × ${place}`;
        if (["serious", "critical"].includes(impact)) faults.push(text);
        else console.log(`  ${text}`);
      }
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 900 });
};

const text = (page, selector) => page.evaluate((s) => document.querySelector(s)?.textContent ?? "", selector);
const state = (page) => text(page, ".now .state");

const main = async () => {
  const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });

  doing("a search is watched from its beginning");
  const settings = [
    "--algos", "darts", "--logdir", logdir, "--exp-prefix", "live",
    "--nas.search.trainer.epochs", "40", "--nas.search.trainer.alpha_optimizer.lr", "0.05",
    "--nas.search.loader.dataset.max_batches", "12", "--nas.search.loader.train_batch", "16", "--nas.search.loader.test_batch", "16",
    "--nas.eval.trainer.epochs", "60", "--nas.eval.loader.dataset.max_batches", "8", "--nas.search.trainer.logger_freq", "1",
  ];
  const run = start(["run", ...settings, "--watch"]);
  let page = await open(browser, await address(run));
  await until("the page of the run", () => page.url().includes("/runs/") && !page.url().includes("token"));
  await until("running", async () => await state(page) === "running");
  await until("live", async () => await text(page, "#link") === "live");

  doing("epochs arrive, architecture parameters move");
  const epoch = async () => Number((await text(page, ".now strong")).match(/epoch (\d+) of 40/)?.[1] ?? 0);
  const first = await epoch();
  await until("three epochs", async () => await epoch() >= Math.max(4, first + 2));
  const alphas = () => page.evaluate(() => document.querySelector("#alphas .multiples")?.innerHTML ?? "");
  const before = await until("the charts of the edges", alphas);
  await until("charts that move", async () => await alphas() !== before);

  doing("a line of the log is on the page within a second");
  const log = path.join(search, "log.jsonl");
  const logged = () => [...fs.readFileSync(log, "utf8").matchAll(/epochs\/\d+\/train"/g)].length;
  const delays = [];
  for (let i = 0; i < 3; i += 1) {
    const n = logged();
    await until("the end of an epoch in the log", () => logged() > n);
    const began = Date.now();
    await until("it on the page", async () => await epoch() > n + 1, 20);
    delays.push(Date.now() - began);
  }
  console.log(`  after ${delays.join(", ")} ms`);
  assert(Math.min(...delays) < 1000, `a line took ${delays} ms`);

  doing("the slider shows other cells, and stays where it is");
  await page.emulateMedia({ reducedMotion: "reduce" });
  await until("a slider", () => page.evaluate(() => document.querySelector("#cells input[type=range]")?.max >= 1));
  const shown = () => page.evaluate(() => [...document.querySelectorAll("#cells .frame")].find((f) => !f.hidden)?.dataset.name);
  const drawn = () => page.evaluate(() => [...document.querySelectorAll("#cells .frame")].find((f) => !f.hidden)?.querySelector("svg").outerHTML);
  const [last, picture] = [await shown(), await drawn()];
  await page.locator("#cells input[type=range]").focus();
  await page.keyboard.press("Home");
  assert.notEqual(await shown(), last);
  assert.notEqual(await drawn(), picture);
  const kept = await shown();
  // Where the reader looks, nothing moves while charts above grow.
  await page.evaluate(() => document.querySelector("#alphas h3").scrollIntoView());
  const place = () => page.evaluate(() => document.querySelector("#alphas").getBoundingClientRect().top);
  const [top, at] = [await place(), await epoch()];
  await until("two more epochs", async () => await epoch() >= Math.min(at + 2, 39));
  assert.equal(await shown(), kept);
  assert(Math.abs(await place() - top) < 2, "the page moved under the reader");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "epochs", "the slider lost the focus");
  await page.evaluate(() => scrollTo(0, 0));
  await look(page, "run");

  doing("it is stopped from its page");
  expected = true;
  await page.locator("[data-stop]").click();
  await page.screenshot({ path: path.join(pictures, "stop.png") });
  await page.locator("dialog button[value=yes]").click();
  await until("interrupted, on the page", async () => await state(page) === "interrupted");
  assert.equal(await run.ended, 130, run.said);
  assert.match(run.said, /interrupted|stopped/);
  await until("the server is known to be gone", async () => /gone/.test(await text(page, "#link")));
  await page.context().close();
  expected = false;

  doing("another server shows it, resumed and going on");
  const server = start(["watch", logdir]);
  const url = await address(server);
  page = await open(browser, url);
  await until("it is listed as interrupted", () => page.evaluate(() => document.querySelector("tr[data-state=interrupted]") !== null));
  await page.locator("tbody a").first().click();
  await until("how to go on", async () => (await text(page, ".now")).includes("archai resume"));
  const stopped = await page.evaluate(() => document.querySelector(".now strong").textContent);
  let resumed = start(["resume", search]);
  await until("running again", async () => await state(page) === "running");
  await until("an epoch more", async () => await epoch() > Number(stopped.match(/epoch (\d+)/)[1]));

  doing("and is stopped from there");
  await page.locator("[data-stop]").click();
  await page.locator("dialog button[value=yes]").click();
  await until("interrupted, on the page", async () => await state(page) === "interrupted");
  assert.equal(await resumed.ended, 130, resumed.said);

  doing("the rest of it, and its evaluation");
  resumed = start(["resume", search]);
  await until("the evaluation goes on", async () => (await text(page, ".now")).includes("The evaluation goes on"), 300);
  await page.locator(".now .note a").click();
  await until("the page of the evaluation", () => page.url().endsWith("/evaluation"));
  await until("complete", async () => await state(page) === "complete", 300);
  assert.equal(await resumed.ended, 0, resumed.said);
  await look(page, "evaluation", ["light", "dark"], [1280]);
  const download = page.waitForEvent("download");
  await page.locator(".menu summary").click();
  await page.locator(".menu a[href$='model.onnx']").click();
  const onnx = await (await download).path();
  assert.deepEqual(fs.readFileSync(onnx), fs.readFileSync(path.join(logdir, `${NAME}_eval`, "model.onnx")));

  doing("runs are listed, ordered, filtered, compared");
  start(["run", "--algos", "random", "--logdir", logdir, "--exp-prefix", "live", "--no-eval", "--smoke"]);
  start(["run", "--algos", "darts", "--logdir", logdir, "--exp-prefix", "seed7", "--no-eval", "--seed", "7",
    "--nas.search.trainer.epochs", "6", "--nas.search.loader.dataset.max_batches", "12", "--nas.search.loader.train_batch", "16"]);
  await page.goto(new URL("/", url).href);
  await until("all runs", () => page.evaluate(() => document.querySelectorAll("tbody tr").length === 3));
  await until("all are done", () => page.evaluate(() => document.querySelectorAll("tr[data-state=running],tr[data-state=waiting]").length === 0), 300);
  fs.appendFileSync(path.join(logdir, "random_fashion_mnist_mini_live_search", "log.jsonl"), "");
  // One that failed.
  const failed = path.join(logdir, "gs_fashion_mnist_mini_live_search");
  fs.mkdirSync(failed);
  for (const name of ["run.json", "config_used.yaml"]) fs.copyFileSync(path.join(search, name), path.join(failed, name));
  fs.writeFileSync(path.join(failed, "log.jsonl"), '{"time":"2026-01-02T03:04:05Z","level":"error","message":"the loss is not finite in step 7"}\n');
  await until("the one that failed", () => page.evaluate(() => document.querySelector("tr[data-state=failed]") !== null));
  const names = () => page.evaluate(() => [...document.querySelectorAll("tbody tr:not([hidden])")].map((row) => row.querySelector("th").textContent));
  await page.locator("[data-sort=name]").focus();
  await page.keyboard.press("Enter");
  assert.deepEqual(await names(), (await names()).toSorted());
  assert.equal(await page.evaluate(() => document.querySelector("th[aria-sort]").getAttribute("aria-sort")), "ascending");
  await page.keyboard.press("Enter");
  assert.deepEqual(await names(), (await names()).toSorted().reverse());
  await page.locator("#filter").fill("seed7");
  assert.equal((await names()).length, 1);
  await page.locator("#filter").fill("");
  await page.locator("#state").selectOption("failed");
  assert.deepEqual(await names(), ["gs_fashion_mnist_mini_live"]);
  await page.locator("#state").selectOption("");
  await page.locator("[data-sort=changed]").click();
  await look(page, "list");
  for (const name of [NAME, "darts_fashion_mnist_mini_seed7"]) await page.getByLabel(`Compare ${name}`).check();
  await page.locator("#compare").click();
  await until("both", async () => (await text(page, "#search-settings")).includes("common.seed"));
  await look(page, "compare");
  await page.goto(`file://${path.join(search, "report.html")}`);
  await look(page, "report", ["light", "dark"], [1280, 390]);

  doing("a search of full size: 50 epochs of 391 steps, each logged");
  const full = path.join(logdir, "darts_fashion_mnist_mini_full_search");
  fs.cpSync(search, full, { recursive: true });
  const lines = fs.readFileSync(log, "utf8").split("\n");
  const values = (end) => JSON.parse(lines.find((line) => line.includes(end))).values;
  const edges = Object.entries(values('/alphas"'));
  const line = (at, v) => JSON.stringify({ time: "2026-01-02T03:04:05Z", level: "info", path: `arch_search/arch_train${at}`, values: v });
  const step = values('/steps/');
  const all = [line("__init__", { ...values('arch_train__init__"'), epochs: 50, train_batches: 391 })];
  for (let e = 0; e < 50; e += 1) {
    for (let s = 0; s < 391; s += 1) all.push(line(`/epochs/${e}/steps/${s}`, { ...step, loss: 2 - e / 30 + Math.sin(s) / 9, top1: e / 60 + Math.cos(s) / 20 }));
    all.push(line(`/epochs/${e}/alphas`, Object.fromEntries(edges.map(([name, a]) => [name, a.map((v, i) => v + ((e * (i + 3)) % 17) / 50)]))));
    all.push(line(`/epochs/${e}/guard`, values('/guard"')), line(`/epochs/${e}/train`, values('/train"')), line(`/epochs/${e}/val`, values('/val"')));
  }
  fs.writeFileSync(path.join(full, "log.jsonl"), `${all.join("\n")}\n`);
  await page.goto(new URL("/", url).href);
  const link = page.locator("a", { hasText: /^darts_fashion_mnist_mini_full$/ });
  await link.waitFor();
  const began = Date.now();
  await Promise.all([page.waitForURL(/search$/, { waitUntil: "domcontentloaded" }), link.click()]);
  const took = Date.now() - began;
  const memory = Number(fs.readFileSync(`/proc/${server.child.pid}/status`, "utf8").match(/VmHWM:\s+(\d+) kB/)?.[1] ?? 0) / 1024;
  console.log(`  opened in ${took} ms; the server took ${memory.toFixed(0)} MiB at most`);
  await until("its charts", () => page.evaluate(() => document.querySelectorAll("#alphas svg").length >= 10));
  assert(took < 1500, "it took too long");
  assert(memory < 100, "the server takes too much memory");

  expected = true;
  server.child.kill("SIGINT");
  assert.equal(await server.ended, 0, server.said);
  await browser.close();
};

try {
  await main();
} catch (error) {
  for (const child of children) child.kill("SIGKILL");
  console.error(error);
  faults.push(String(error));
}
fs.rmSync(work, { recursive: true, force: true });
if (faults.length) {
  console.error(`\n${faults.length} faults:\n${[...new Set(faults)].map((fault) => `- ${fault}`).join("\n")}`);
  process.exit(1);
}
console.log(`all well; screenshots in ${pictures}`);
process.exit(0);
