import type { Request, Screen } from "./types";

/** The way to the station. It decides everything; what is touched is told, and the answer is the next screen. */
export interface Backend {
  /** Calls `listener` with the screen that is due now and with each that follows; returns how to stop that. */
  onScreen(listener: (screen: Screen) => void): () => void;
  /** Tells what was touched. A request that does not arrive changes nothing: the screen stays. */
  request(request: Request): Promise<void>;
  /** Tells that a screen is on the glass. */
  painted(revision: number): void;
}

/** Lets only screens through that are newer than the last: the first answer may come after an event that is newer. */
export function newest(listener: (screen: Screen) => void): (screen: Screen) => void {
  let last = -1;
  return (screen) => {
    if (screen.revision <= last) return;
    last = screen.revision;
    listener(screen);
  };
}
