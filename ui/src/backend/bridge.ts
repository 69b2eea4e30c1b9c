import { newest, type Backend } from ".";
import type { Screen } from "./types";

/** The query of the page goes with each call: it names the scene. */
const address = (path: string) => `${path}${location.search}`;

async function post(path: string, body: unknown): Promise<void> {
  const headers = { "content-type": "application/json" };
  const reply = await fetch(address(path), { method: "POST", headers, body: JSON.stringify(body) });
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
}

/** A station behind a loopback HTTP server, for tests in a browser. */
export const backend: Backend = {
  onScreen(listener) {
    let show = newest(listener);
    const source = new EventSource(address("/screens"));
    // A server that was started anew counts anew.
    source.onopen = () => { show = newest(listener); };
    source.onmessage = (event: MessageEvent<string>) => show(JSON.parse(event.data) as Screen);
    return () => source.close();
  },
  request: (request) => post("/request", request),
  painted(revision) {
    post("/painted", { revision }).catch((error: unknown) => console.error("Not told:", error));
  },
};
