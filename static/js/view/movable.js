/** Drags an element of a surface into one of its four corners. The keys for it are the element's own. */

/** @typedef {import('../layout.js').Corner} Corner */

const DRAG_FROM = 6; // px: less is a tap

/**
 * @param {HTMLElement} surface
 * @param {object} options
 * @param {(target: Element) => HTMLElement | null} options.handle  what is dragged, if anything
 * @param {(corner: Corner) => void} options.onDrop
 */
export function movable(surface, { handle, onDrop }) {
  surface.addEventListener('pointerdown', (down) => {
    const target = /** @type {Element} */ (down.target);
    const element = target.closest('button') ? null : handle(target);
    if (!element || down.button !== 0) return;
    const before = element.style.translate;
    let dragging = false;
    /** @param {PointerEvent} event */
    const move = (event) => {
      const [x, y] = [event.clientX - down.clientX, event.clientY - down.clientY];
      dragging ||= Math.hypot(x, y) > DRAG_FROM;
      if (!dragging) return;
      element.classList.add('dragged');
      element.style.translate = `${x}px ${y}px`;
    };
    /** @param {PointerEvent} event */
    const end = (event) => {
      for (const type of /** @type {const} */ (['pointerup', 'pointercancel'])) surface.removeEventListener(type, end);
      surface.removeEventListener('pointermove', move);
      if (!dragging) return;
      const box = element.getBoundingClientRect();
      element.classList.remove('dragged');
      element.style.translate = before;
      if (event.type === 'pointerup') onDrop(cornerOf(box, surface.getBoundingClientRect()));
    };
    surface.setPointerCapture(down.pointerId);
    surface.addEventListener('pointermove', move);
    surface.addEventListener('pointerup', end);
    surface.addEventListener('pointercancel', end);
  });
}

/** @param {DOMRect} box @param {DOMRect} area @returns {Corner} */
function cornerOf(box, area) {
  const down = box.top + box.height / 2 > area.top + area.height / 2 ? 'bottom' : 'top';
  const side = box.left + box.width / 2 > area.left + area.width / 2 ? 'right' : 'left';
  return `${down}-${side}`;
}

/** Where an arrow key moves to from a corner. @param {Corner} corner @param {string} key @returns {Corner | null} */
export function cornerAfter(corner, key) {
  const [down, side] = corner.split('-');
  switch (key) {
    case 'ArrowLeft':
      return /** @type {Corner} */ (`${down}-left`);
    case 'ArrowRight':
      return /** @type {Corner} */ (`${down}-right`);
    case 'ArrowUp':
      return /** @type {Corner} */ (`top-${side}`);
    case 'ArrowDown':
      return /** @type {Corner} */ (`bottom-${side}`);
    default:
      return null;
  }
}
