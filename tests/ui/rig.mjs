// The bridge with the scenes, and a browser that shows them.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const repository = fileURLToPath(new URL("../..", import.meta.url));
const programs = process.env.LOTGATE_BIN_DIR ?? `${repository}/target/debug`;
const browserPath = process.env.LOTGATE_CHROMIUM ?? "/usr/bin/chromium";

/** Starts the bridge on a free port; gives its address and what ends it. */
export async function startBridge() {
  const bridge = spawn(`${programs}/bridge`, ["--scenes"], { stdio: ["ignore", "pipe", "inherit"] });
  const stop = () => bridge.kill();
  process.on("exit", stop);
  const ended = new Promise((_, reject) => {
    bridge.on("error", reject);
    bridge.on("exit", (code) => reject(new Error(`the bridge ended with ${code}`)));
  });
  ended.catch(() => {});
  const first = new Promise((resolve) => createInterface({ input: bridge.stdout }).once("line", resolve));
  return { address: await Promise.race([first, ended]), stop };
}

/** Starts the browser without anything that asks the network by itself. */
export function startBrowser() {
  if (!existsSync(browserPath)) throw new Error(`no ${browserPath}: tests/setup.sh installs it`);
  const args = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
  ];
  return chromium.launch({ executablePath: browserPath, args });
}

/** Shows a scene and returns when the ui says that it is painted and its fonts are there. */
export async function show(page, address, scene, language) {
  const painted = page.waitForRequest((request) => new URL(request.url()).pathname === "/painted");
  await page.goto(`${address}/?scene=${scene.name}&lang=${language}`, { waitUntil: "commit" });
  const { revision } = (await painted).postDataJSON();
  if (revision !== scene.screen.revision) throw new Error(`${scene.name}: painted revision ${revision}`);
  await page.evaluate(() => document.fonts.ready.then(() => undefined));
}
