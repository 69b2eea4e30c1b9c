// Runs in the page: what is too small, too close, cut off, covered or outside, as sentences. Units are CSS pixels.

/** The limits are of RULES.md: text, target, gap, gapOfKeys. */
export function measure({ text: smallest, target, gap, gapOfKeys }) {
  const problems = new Set();
  const slack = 1;
  const words = (node) => node.textContent.trim().replace(/\s+/g, " ").slice(0, 60);
  const name = (element) => {
    const classes = typeof element.className === "string" ? element.className : "";
    const own = `${element.tagName.toLowerCase()}${classes ? `.${classes.split(/\s+/).join(".")}` : ""}`;
    return `${own} “${words(element)}”`;
  };
  const box = (rect) => ({ left: rect.left, top: rect.top, right: rect.right, bottom: rect.bottom });
  const round = (rect) =>
    `${Math.round(rect.left)},${Math.round(rect.top)}–${Math.round(rect.right)},${Math.round(rect.bottom)}`;
  const styles = new Map();
  const style = (element) => {
    if (!styles.has(element)) styles.set(element, getComputedStyle(element));
    return styles.get(element);
  };
  /** For screen readers only: one pixel, the rest hidden. */
  const unseen = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const rect = at.getBoundingClientRect();
      if (rect.width <= 1 && rect.height <= 1 && style(at).overflow !== "visible") return true;
    }
    return false;
  };
  const shown = (element) =>
    element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !unseen(element);

  // Texts: every line of every text node.
  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.textContent.trim() || !shown(parent) || parent.closest("script, style")) continue;
    const size = Number.parseFloat(style(parent).fontSize);
    if (size < smallest) problems.add(`text of ${size} px: ${name(parent)}`);
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      // The box of a line is taller than its letters; what is below a fifth of it is empty on both sides.
      const rim = Math.min(rect.height / 5, size / 4);
      if (rect.width > 0) lines.push({ node, element: parent, ...box(rect), top: rect.top + rim, bottom: rect.bottom - rim });
    }
  }

  const inside = (inner, outer) =>
    inner.left >= outer.left - slack &&
    inner.right <= outer.right + slack &&
    inner.top >= outer.top - slack &&
    inner.bottom <= outer.bottom + slack;
  const screen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
  const hides = (element) => style(element).overflowX !== "visible" || style(element).overflowY !== "visible";
  const isSurface = (element) => {
    const own = style(element);
    const filled = !["rgba(0, 0, 0, 0)", "transparent"].includes(own.backgroundColor);
    return filled || Number.parseFloat(own.borderLeftWidth) > 0;
  };
  for (const line of lines) {
    if (!inside(line, screen)) problems.add(`outside the screen at ${round(line)}: ${name(line.element)}`);
    for (let at = line.element; at && at !== document.body; at = at.parentElement) {
      if (!hides(at) && !isSurface(at)) continue;
      const rect = at.getBoundingClientRect();
      if (style(at).display !== "inline" && !inside(line, box(rect)))
        problems.add(`text at ${round(line)} leaves ${name(at)} at ${round(rect)}: ${name(line.element)}`);
    }
  }

  // Nothing scrolls and nothing is cut off with dots.
  const everything = [...document.body.querySelectorAll("*")].filter(shown);
  for (const element of [document.documentElement, ...everything]) {
    if (element instanceof SVGElement) continue;
    if (element !== document.documentElement && !hides(element)) continue;
    const over = [element.scrollWidth - element.clientWidth, element.scrollHeight - element.clientHeight];
    if (over[0] > slack || over[1] > slack) problems.add(`more than fits by ${over.join(" × ")} px: ${name(element)}`);
  }

  // Nothing covers anything else.
  const pictures = everything.filter((element) => element.matches("svg, img, canvas"));
  const controls = everything.filter((element) =>
    element.matches("button, a[href], input, select, textarea, [role=button], [role=radio], [tabindex='0']"));
  const shapes = [
    ...lines,
    ...pictures.filter((element) => !element.parentElement.closest("svg")).map((element) => ({ element, ...box(element.getBoundingClientRect()) })),
  ];
  const meets = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 * slack &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2 * slack;
  // The caption of a picture lies on it, and on nothing else.
  const captioned = (a, b) => {
    const figure = a.element.closest("figure");
    return figure !== null && figure === b.element.closest("figure") && (a.node ?? b.node) !== undefined;
  };
  shapes.forEach((a, index) => {
    for (const b of shapes.slice(index + 1))
      if ((a.node !== b.node || !a.node) && !captioned(a, b))
        if (meets(a, b)) problems.add(`${name(a.element)} and ${name(b.element)} overlap at ${round(a)} and ${round(b)}`);
    for (const control of controls)
      if (!control.contains(a.element) && !a.element.contains(control) && meets(a, box(control.getBoundingClientRect())))
        problems.add(`${name(control)} covers ${name(a.element)}`);
  });

  // Targets: large enough, apart, on the screen.
  controls.forEach((control, index) => {
    const a = control.getBoundingClientRect();
    if (a.width < target - 0.5 || a.height < target - 0.5)
      problems.add(`target of ${a.width.toFixed(1)} × ${a.height.toFixed(1)} px: ${name(control)}`);
    if (!inside(box(a), screen)) problems.add(`target outside the screen at ${round(a)}: ${name(control)}`);
    const labels = lines.filter((line) => control.contains(line.element)).map((line) => Math.round(line.top));
    if (control.tagName === "BUTTON" && new Set(labels).size > 3) problems.add(`more than three lines: ${name(control)}`);
    for (const other of controls.slice(index + 1)) {
      if (control.contains(other) || other.contains(control)) continue;
      const b = other.getBoundingClientRect();
      const apart = Math.max(a.left - b.right, b.left - a.right, a.top - b.bottom, b.top - a.bottom);
      const keys = control.closest(".keys") && other.closest(".keys");
      if (apart < (keys ? gapOfKeys : gap) - 0.5)
        problems.add(`${apart.toFixed(1)} px between ${name(control)} and ${name(other)}`);
    }
  });
  return [...problems];
}
