// Runs for the element of the rows when it is made. A row is dragged by its grip; dropping it sends its new neighbour.
let dragged = null;
const marks = () => element.querySelectorAll('.drop-before, .drop-after');
const unmark = () => marks().forEach(row => row.classList.remove('drop-before', 'drop-after'));
const target = event => {
  const row = event.target.closest('.job-row');
  if (!dragged || !row || row === dragged || !row.querySelector('.grip')) return null;
  const box = row.getBoundingClientRect();
  return {row, after: event.clientY > box.top + box.height / 2};
};
element.addEventListener('dragstart', event => {
  if (!event.target.closest?.('.grip')) return;
  dragged = event.target.closest('.job-row');
  event.dataTransfer.effectAllowed = 'move';
  event.dataTransfer.setData('text/plain', dragged.dataset.clip);
  event.dataTransfer.setDragImage(dragged, 20, 20);
  requestAnimationFrame(() => dragged?.classList.add('dragged'));
});
element.addEventListener('dragover', event => {
  const over = target(event);
  unmark();
  if (!over) return;
  event.preventDefault();
  over.row.classList.add(over.after ? 'drop-after' : 'drop-before');
});
element.addEventListener('drop', event => {
  const over = target(event);
  if (!over) return;
  event.preventDefault();
  trigger('click', {act: over.after ? 'move-after' : 'move-before', clip: dragged.dataset.clip, text: over.row.dataset.clip});
});
element.addEventListener('dragend', () => {
  dragged?.classList.remove('dragged');
  dragged = null;
  unmark();
});
