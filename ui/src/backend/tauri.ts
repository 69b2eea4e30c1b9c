import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";
import { newest, type Backend } from ".";
import type { Screen } from "./types";

/** The station in the program that opened this window. */
export const backend: Backend = {
  onScreen(listener) {
    const show = newest(listener);
    let stopped = false;
    let unlisten: (() => void) | undefined;
    const subscribe = async () => {
      unlisten = await listen<Screen>("screen", (event) => show(event.payload));
      if (stopped) return unlisten();
      show(await invoke<Screen>("screen"));
    };
    subscribe().catch((error: unknown) => console.error("No screen:", error));
    return () => {
      stopped = true;
      unlisten?.();
    };
  },
  request: (request) => invoke("request", { request }),
  painted(revision) {
    invoke("painted", { revision }).catch((error: unknown) => console.error("Not told:", error));
  },
};
