// Every scene of tests/rig/scenes in every language and both sizes of RULES.md.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import axe from "axe-core";
import { catalogue, pattern, plainWords, texts } from "./catalogue.mjs";
import { measure } from "./measure.mjs";
import { repository, show, startBridge, startBrowser } from "./rig.mjs";

const SIZES = [
  { width: 1920, height: 1080, limits: { text: 20, target: 72, gap: 12, gapOfKeys: 8 } },
  { width: 1280, height: 800, limits: { text: 18, target: 72, gap: 12, gapOfKeys: 8 } },
];
const LANGUAGES = ["en", "de"];
const AXE = {
  runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] },
  rules: { "color-contrast-enhanced": { enabled: true } },
  resultTypes: ["violations"],
};
const pictures = `${repository}/target/ui-screens`;

let bridge;
let browser;
let scenes;

before(async () => {
  mkdirSync(pictures, { recursive: true });
  bridge = await startBridge();
  browser = await startBrowser();
  const inLanguage = async (language) => (await fetch(`${bridge.address}/scenes?lang=${language}`)).json();
  scenes = { en: await inLanguage("en"), de: await inLanguage("de") };
});

after(async () => {
  await browser?.close();
  bridge?.stop();
});

/** A page with a touchscreen of that size; what the ui complains of on its console is a problem too. */
async function openPage(size) {
  const viewport = { width: size.width, height: size.height };
  const context = await browser.newContext({ viewport, hasTouch: true, reducedMotion: "reduce" });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  return { page, complaints, close: () => context.close() };
}

async function findings(page) {
  await page.evaluate(`if (!window.axe) { ${axe.source} }`);
  const { violations } = await page.evaluate((options) => window.axe.run(document, options), AXE);
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `axe ${id} (${help}): ${node.target.join(" ")} ${node.failureSummary?.split("\n")[1] ?? ""}`));
}

/**
 * What is drawn of a screen. After an accepted scan its next step stands in the place of the lots; with both bars
 * there, one lot less; the answers to a question in the place of the job's steps; of the alarms one at a time, and
 * without their word, which stands where a touch leads to them.
 */
function drawn({ main, alarm, ...others }) {
  const frame = main.kind === "devices" ? others : { ...others, alarm };
  const { lots, more_lots, as_of, ...scan } = main;
  if (main.result?.accepted) return { ...frame, main: scan };
  if (lots) return { ...frame, main: { ...main, lots: frame.offline && frame.demo.length > 0 ? lots.slice(0, 4) : lots } };
  const { steps, record, printer, ...label } = main;
  if (main.answers?.length > 0) return { ...frame, main: label };
  return { ...frame, main: main.alarms ? { ...main, alarms: main.alarms.slice(0, 1) } : main };
}

/** What of the screen is not on the page, and what is on the page that nobody should read. */
function missing(whole, said, language) {
  const screen = drawn(whole);
  const lacking = texts(screen)
    .filter((text) => !pattern(text, language)?.test(said))
    .map((text) => `not shown: ${text.key} (${catalogue[language][text.key] ?? "not in the catalogue"})`);
  const plain = plainWords(screen)
    .filter((word) => word && !said.includes(word.replace(/\s+/g, " ")))
    .map((word) => `not shown: ${word}`);
  const keys = texts(screen).map((text) => text.key).filter((key) => key.includes("_") && key !== screen.main.code);
  const raw = (said.match(/\{\w+\}|\bui_\w+|\bundefined\b|\bNaN\b|\[object/g) ?? []).map((text) => `raw: ${text}`);
  const rawKeys = keys.filter((key) => new RegExp(`\\b${key}\\b`).test(said)).map((key) => `a key, not its text: ${key}`);
  return [...lacking, ...plain, ...raw, ...rawKeys];
}

/** Fails with all of them, one a line. */
function none(problems) {
  if (problems.length > 0) assert.fail(`${problems.length} problems:\n${problems.join("\n")}`);
}

const normal = (text) => text.replace(/\s+/g, " ");

describe("every screen", { concurrency: 2 }, () => {
  for (const size of SIZES) {
    for (const language of LANGUAGES) {
      const where = `${size.width}x${size.height} ${language}`;
      test(`is whole, legible, touchable and without findings of axe at ${where}`, async () => {
        const { page, complaints, close } = await openPage(size);
        const problems = [];
        for (const scene of scenes[language].filter((scene) => !scene.words_only)) {
          complaints.length = 0;
          await show(page, bridge.address, scene, language);
          const found = [
            ...(await page.evaluate(measure, size.limits)),
            ...missing(scene.screen, normal(await page.evaluate(() => document.body.innerText)), language),
            ...(await findings(page)),
            ...complaints,
          ];
          problems.push(...found.map((problem) => `${scene.name}: ${problem}`));
          await page.screenshot({ path: `${pictures}/${scene.name}-${size.width}x${size.height}-${language}.png` });
        }
        await close();
        none(problems);
      });
    }
  }

  for (const language of LANGUAGES) {
    test(`has room for every sentence of a refusal or fault in ${language} at 1280x800`, async () => {
      const size = SIZES[1];
      const { page, close } = await openPage(size);
      const problems = [];
      for (const scene of scenes[language].filter((scene) => scene.words_only)) {
        await show(page, bridge.address, scene, language);
        const said = normal(await page.evaluate(() => document.body.innerText));
        const found = [...(await page.evaluate(measure, size.limits)), ...missing(scene.screen, said, language)];
        problems.push(...found.map((problem) => `${scene.name}: ${problem}`));
      }
      await close();
      none(problems);
    });
  }
});

describe("every request", () => {
  /** Touches a target and gives what the ui then asked the station for. */
  async function touch(page, target) {
    const asked = page.waitForRequest((request) => new URL(request.url()).pathname === "/request");
    await target.tap();
    return (await asked).postDataJSON();
  }

  test("is reached by one touch of what offers it, and by no keyboard", async () => {
    const { page, close } = await openPage(SIZES[1]);
    const reached = new Set();
    const touched = new Set();
    for (const scene of scenes.en.filter((scene) => !scene.words_only)) {
      const { actions, demo, main } = scene.screen;
      const offers = [...actions.map(({ label, request }) => [label, request]),
        ...(main.answers ?? []).map(({ title, request }) => [title, request])].filter(([, request]) => request);
      for (const [label, request] of offers) {
        // The same offer on the same kind of screen is drawn by the same lines.
        const offer = JSON.stringify([main.kind, label.key, request]);
        if (touched.has(offer)) continue;
        touched.add(offer);
        await show(page, bridge.address, scene, "en");
        const target = page.getByRole("button").filter({ hasText: pattern(label, "en") });
        assert.deepEqual(await touch(page, target), request, `${scene.name}: ${label.key}`);
        reached.add(request.request);
      }
      for (const { label, number } of touched.has("demo") ? [] : demo) {
        await show(page, bridge.address, scene, "en");
        const target = page.getByRole("button").filter({ hasText: label });
        assert.deepEqual(await touch(page, target.first()), { request: "demo_scan", number }, scene.name);
        reached.add("demo_scan");
      }
      if (demo.length > 0) touched.add("demo");
      if (main.alarms?.length > 1) {
        await show(page, bridge.address, scene, "en");
        const next = page.locator(".alarms button");
        for (const alarm of main.alarms) {
          const said = normal(await page.locator(".alarms").innerText());
          assert.match(said, pattern(alarm, "en"), `${scene.name}: ${alarm.key} is some touches away`);
          await next.tap();
        }
      }
      if (main.keyboard) {
        await show(page, bridge.address, scene, "en");
        const [capitals, erase] = await page.locator(".keys .key.fn").all();
        for (const shifted of [false, true]) {
          if (shifted) await capitals.tap();
          for (const key of await page.locator(".keys .key:not(.fn)").all())
            assert.deepEqual(await touch(page, key), { request: "key", key: await key.innerText() });
        }
        assert.deepEqual(await touch(page, erase), { request: "erase" });
        reached.add("key").add("erase");
      }
    }
    await close();
    const types = readFileSync(`${repository}/ui/src/backend/types.ts`, "utf8");
    const all = new Set([...types.matchAll(/"?request"?: "(\w+)"/g)].map(([, name]) => name));
    assert.ok(all.size > 10, "the requests are not where they were in types.ts");
    assert.deepEqual([...all].filter((request) => !reached.has(request)), [], "offered by no scene");
  });
});

test("a touch that is still down while new screens come is not lost", async () => {
  const { page, close } = await openPage(SIZES[1]);
  for (const name of ["scan-accepted", "label-unknown-silent", "devices-offline"]) {
    const painted = () => page.waitForRequest((request) => new URL(request.url()).pathname === "/painted");
    await Promise.all([painted(), page.goto(`${bridge.address}/?scene=${name}&again=1`, { waitUntil: "commit" })]);
    const box = await page.locator("button[data-request]").last().boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    for (let screens = 0; screens < 3; screens++) await painted();
    const asked = page.waitForRequest((request) => new URL(request.url()).pathname === "/request", { timeout: 5000 });
    await page.mouse.up();
    await assert.doesNotReject(asked, `${name}: what was touched was not asked for`);
  }
  await close();
});

test("no reader reads a label off the screen, and every reader off the paper", async () => {
  const read = (picture) => execFileSync("ZXingReader", ["-format", "DataMatrix", picture], { encoding: "utf8" });
  for (const size of [...SIZES, { width: 3840, height: 2160 }]) {
    const { page, close } = await openPage(size);
    for (const name of ["label-sent", "label-unknown-silent", "label-sent-longest"]) {
      const scene = scenes.en.find((scene) => scene.name === name);
      await show(page, bridge.address, scene, "en");
      // As a person would aim at it: at the code alone, with the white around it.
      const tag = await page.locator(".tag").boundingBox();
      const at = { x: tag.x + tag.width * 0.6, y: tag.y, width: tag.width * 0.4, height: tag.height * 0.6 };
      const [glass, paper] = ["glass", "paper"].map((kind) => `${pictures}/code-${name}-${size.width}-${kind}.png`);
      await page.screenshot({ path: glass, clip: at });
      assert.doesNotMatch(read(glass), /Content|Text:/, `${name} at ${size.width}: the screen counts as the label`);
      // The same picture at the same place without what the ui draws on it: the reader could read it.
      await page.addStyleTag({ content: ".tag figcaption { display: none; }" });
      await page.screenshot({ path: paper, clip: at });
      assert.match(read(paper), /Content:\s+GS1/, `${name} at ${size.width}: the reader reads no label at all`);
    }
    await close();
  }
});

test("a touch means what was offered when the finger came down", async () => {
  const { page, close } = await openPage(SIZES[1]);
  await page.addInitScript(() => {
    window.EventSource = class { constructor() { window.station = this; } close() {} };
  });
  const found = (offer) => scenes.en.find(({ screen }) => [...screen.actions, ...(screen.main.answers ?? [])]
    .some(({ request }) => request && offer in request));
  for (const offer of ["scan", "job"]) {
    const { name, screen } = found(offer);
    await page.goto(`${bridge.address}/?scene=${name}`, { waitUntil: "commit" });
    await page.waitForFunction(() => window.station?.onmessage);
    const send = async (id, revision) => {
      const [before] = JSON.stringify(screen).match(new RegExp(`"${offer}":"([^"]+)"`)).slice(1);
      const sent = { ...JSON.parse(JSON.stringify(screen).replaceAll(before, id)), revision };
      const painted = page.waitForRequest((request) => new URL(request.url()).pathname === "/painted");
      await page.evaluate((data) => window.station.onmessage({ data }), JSON.stringify(sent));
      await painted;
    };
    const [first, second] = ["1", "2"].map((digit) => `0190163d-8694-739b-aea5-96${digit}c26f8ad90`);
    await send(first, 1_000_001);
    const requests = [...screen.actions, ...(screen.main.answers ?? [])].map(({ request }) => request);
    const { request: kind } = requests.find((request) => request && offer in request);
    const box = await page.locator(`button[data-request="${kind}"]`).first().boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    await send(second, 1_000_002);
    const asked = page.waitForRequest((request) => new URL(request.url()).pathname === "/request", { timeout: 5000 });
    await page.mouse.up();
    assert.equal((await asked).postDataJSON()[offer], first, `${name}: what stood there before`);
    const now = page.waitForRequest((request) => new URL(request.url()).pathname === "/request", { timeout: 5000 });
    await page.mouse.down();
    await page.mouse.up();
    assert.equal((await now).postDataJSON()[offer], second, `${name}: what stands there now`);
  }
  await close();
});

test("nothing is to be compared any more while the station is being enrolled", async () => {
  const { page, close } = await openPage(SIZES[1]);
  for (const [name, asks] of [["enrol-token", true], ["enrol-working", false]]) {
    await show(page, bridge.address, scenes.en.find((scene) => scene.name === name), "en");
    const said = normal(await page.evaluate(() => document.body.innerText));
    assert.equal(said.includes(catalogue.en.ui_enrol_compare), asks, name);
  }
  await close();
});

test("no text is in one language only", () => {
  assert.deepEqual(Object.keys(catalogue.en), Object.keys(catalogue.de));
});
