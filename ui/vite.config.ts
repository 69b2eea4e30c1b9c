import { svelte } from "@sveltejs/vite-plugin-svelte";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

// Two builds of one ui: for the window (dist/) and, in mode bridge, for a browser in tests (dist-bridge/). The alias
// decides, so that the code of the one is not in the other.
export default defineConfig(({ mode }) => ({
  plugins: [svelte({ configFile: false })],
  resolve: {
    alias: {
      $backend: path(mode === "bridge" ? "src/backend/bridge.ts" : "src/backend/tauri.ts"),
      $catalogue: path("../domain/text"),
    },
  },
  build: {
    outDir: mode === "bridge" ? "dist-bridge" : "dist",
    emptyOutDir: true,
    // A strict content security policy knows no data: but for the preview of a label.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { host: "127.0.0.1", fs: { allow: [path("."), path("../domain/text")] } },
  preview: { host: "127.0.0.1" },
}));
