// Runs for the element of the timeline when it is made: clips are dragged to other places, and their edges are trimmed.
let dragged = null;
const pieceOf = event => event.target.closest?.('.cut-piece');
const unmark = () => element.querySelectorAll('.drop-before, .drop-after').forEach(
  piece => piece.classList.remove('drop-before', 'drop-after'));
const isBefore = (event, piece) => {
  const box = piece.getBoundingClientRect();
  return event.clientX < box.left + box.width / 2;
};
element.addEventListener('dragstart', event => {
  dragged = pieceOf(event);
  if (!dragged) return;
  event.dataTransfer.effectAllowed = 'move';
  event.dataTransfer.setData('text/plain', dragged.dataset.clip);
});
element.addEventListener('dragover', event => {
  const over = pieceOf(event);
  unmark();
  if (!dragged || !over || over === dragged) return;
  event.preventDefault();
  over.classList.add(isBefore(event, over) ? 'drop-before' : 'drop-after');
});
element.addEventListener('drop', event => {
  const over = pieceOf(event);
  unmark();
  if (!dragged || !over || over === dragged) return;
  event.preventDefault();
  const from = Number(dragged.dataset.clip), to = Number(over.dataset.clip) + (isBefore(event, over) ? 0 : 1);
  trigger('click', {act: 'move-to', clip: dragged.dataset.clip, text: String(to > from ? to - 1 : to)});
});
element.addEventListener('dragend', () => { dragged = null; unmark(); });

let trimmed = null;
element.addEventListener('pointerdown', event => {
  const edge = event.target.closest?.('.cut-trim');
  if (!edge) return;
  event.preventDefault();
  const piece = pieceOf(event), [first, end, of] = piece.dataset.frames.split(' ').map(Number);
  edge.setPointerCapture(event.pointerId);
  trimmed = {edge: edge.dataset.trim, piece, first, end, of, x: event.clientX, pixels: piece.offsetWidth / (end - first)};
});
const place = event => {
  const {edge, first, end, of, x, pixels} = trimmed, by = Math.round((event.clientX - x) / pixels);
  return edge === 'first' ? Math.max(0, Math.min(first + by, end - 1)) : Math.max(first + 1, Math.min(end + by, of));
};
element.addEventListener('pointermove', event => {
  if (!trimmed) return;
  const now = place(event), frames = trimmed.edge === 'first' ? trimmed.end - now : now - trimmed.first;
  trimmed.piece.style.setProperty('--frames', frames);
});
element.addEventListener('pointerup', event => {
  if (!trimmed) return;
  const {edge, piece, first, end} = trimmed, now = place(event);
  trimmed = null;
  if (now !== (edge === 'first' ? first : end)) trigger('click', {act: edge, clip: piece.dataset.clip, text: String(now)});
});
element.addEventListener('pointercancel', () => {
  trimmed?.piece.style.setProperty('--frames', trimmed.end - trimmed.first);
  trimmed = null;
});

let focused = '';
element.addEventListener('focusin', event => { focused = event.target.closest('[data-focus]')?.dataset.focus ?? ''; });
new MutationObserver(() => {
  const lost = document.activeElement === document.body;
  if (focused && lost) element.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});
}).observe(element, {childList: true, subtree: true});
