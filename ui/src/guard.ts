/** Leaves nothing of a browser to whoever stands at the station: no menu, no drag, no zoom, no key. */
export function guard(): void {
  const swallow = (event: Event) => event.preventDefault();
  const events = ["contextmenu", "dragstart", "dragover", "drop", "selectstart", "gesturestart", "auxclick"];
  for (const name of events) addEventListener(name, swallow, { capture: true });
  // Every key: shortcuts leave the page, and a scanner that types would press the button that was touched last.
  // A switch or a screen reader clicks without keys.
  for (const name of ["keydown", "keypress", "keyup"]) {
    addEventListener(name, (event) => { event.preventDefault(); event.stopImmediatePropagation(); }, { capture: true });
  }
  addEventListener("wheel", swallow, { capture: true, passive: false });
  const pinch = (event: TouchEvent) => { if (event.touches.length > 1) event.preventDefault(); };
  addEventListener("touchmove", pinch, { capture: true, passive: false });
}
