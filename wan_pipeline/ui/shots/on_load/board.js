// Runs for the element of the board when it is made: shots are dragged by their grips, and the take that had the
// keyboard has it again when the board is drawn anew.
let dragged = null;
const rowOf = event => event.target.closest?.('.shot');
const unmark = () => element.querySelectorAll('.drop-before').forEach(row => row.classList.remove('drop-before'));
element.addEventListener('dragstart', event => {
  if (!event.target.closest?.('.shot-grip')) return;
  dragged = rowOf(event);
  event.dataTransfer.effectAllowed = 'move';
  event.dataTransfer.setData('text/plain', dragged.dataset.clip);
  event.dataTransfer.setDragImage(dragged, 20, 20);
});
element.addEventListener('dragover', event => {
  const over = rowOf(event);
  unmark();
  if (!dragged || !over || over === dragged) return;
  event.preventDefault();
  over.classList.add('drop-before');
});
element.addEventListener('drop', event => {
  const over = rowOf(event);
  unmark();
  if (!dragged || !over || over === dragged) return;
  event.preventDefault();
  trigger('click', {act: 'move-before', clip: dragged.dataset.clip, text: over.dataset.clip});
});
element.addEventListener('dragend', () => { dragged = null; unmark(); });

let focused = '';
element.addEventListener('focusin', event => { focused = event.target.closest('[data-focus]')?.dataset.focus ?? ''; });
new MutationObserver(() => {
  const lost = document.activeElement === document.body;
  if (focused && lost) element.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}).observe(element, {childList: true, subtree: true});
