import type { Attachment } from "svelte/attachments";

/** Something in the box stands out of it, or its text out of it. */
function over(box: HTMLElement): boolean {
  const outer = box.getBoundingClientRect();
  return [...box.querySelectorAll(":not(svg, svg *)")].some((part) => {
    const inner = part.getBoundingClientRect();
    const high = inner.top < outer.top - 0.5 || inner.bottom > outer.bottom + 0.5;
    // What stands in a line has no client width.
    const wide = part.clientWidth > 0 && part.scrollWidth > part.clientWidth + 1;
    return high || wide || inner.right > outer.right + 0.5;
  });
}

/**
 * Nothing is ever cut: text that does not fit its box is set smaller, in steps that the style sheet gives by
 * `data-fit`. It is done before the frame is painted. `content` is what may have changed.
 */
export function fit(_content: unknown, steps = 3): Attachment<HTMLElement> {
  return (box) => {
    const measure = () => {
      for (let step = 0; step <= steps; step++) {
        box.dataset.fit = String(step);
        if (!over(box)) return;
      }
    };
    measure();
    addEventListener("resize", measure);
    return () => removeEventListener("resize", measure);
  };
}
