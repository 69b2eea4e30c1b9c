import type { Attachment } from "svelte/attachments";
import type { Request } from "./backend/types";

/**
 * Asks for what a button offered when the finger came down: a new screen may come while it is down, and may offer
 * the same for something else. A switch or a screen reader clicks without a finger, and means what is offered now.
 */
export function touch(offered: () => Request | null, ask: (request: Request) => void): Attachment {
  return (button) => {
    let meant: Request | null | undefined;
    const down = () => { meant = offered(); };
    const away = () => { meant = undefined; };
    const click = () => {
      const wanted = meant === undefined ? offered() : meant;
      meant = undefined;
      if (wanted) ask(wanted);
    };
    const events = Object.entries({ pointerdown: down, pointercancel: away, pointerleave: away, click });
    for (const [name, listener] of events) button.addEventListener(name, listener);
    return () => {
      for (const [name, listener] of events) button.removeEventListener(name, listener);
    };
  };
}
