// Dialogs by keyboard: the focus moves in, stays in, and returns to what opened it; Escape closes. For the guests' page too.
(() => {
  const STOPS = "a[href], button, input, select, textarea, summary, video[controls], [tabindex]";
  const BESIDE = "#report, #toast, .toast-slot";  // messages that are shown over a dialog, with buttons of their own
  const isVisible = element => element.getClientRects().length > 0;
  const shown = () => document.querySelector("dialog:modal") ??
    [...document.querySelectorAll("[role=dialog][aria-modal=true]")].filter(isVisible).at(-1);
  const stops = dialog => [dialog, ...document.querySelectorAll(BESIDE)]
    .flatMap(part => [...part.querySelectorAll(STOPS)])
    .filter(stop => !stop.disabled && stop.tabIndex >= 0 && isVisible(stop));

  const keepInside = (event, dialog) => {
    const circle = stops(dialog), now = document.activeElement, place = circle.indexOf(now);
    const next = circle[event.shiftKey ? place - 1 : place + 1];
    if (place >= 0 && next && dialog.contains(next) === dialog.contains(now)) return;  // the browser's own way
    event.preventDefault();
    (next ?? circle.at(event.shiftKey ? -1 : 0))?.focus();
  };
  document.addEventListener("keydown", event => {
    const dialog = ["Tab", "Escape"].includes(event.key) && shown();
    if (!dialog) return;
    if (event.key === "Tab") return keepInside(event, dialog);
    if (dialog.matches("dialog")) return;  // closes by itself
    event.preventDefault();
    event.stopPropagation();
    document.activeElement.blur();  // what was typed is sent when its box is left
    dialog.querySelector("[data-act=close]")?.click();
  }, true);
  document.addEventListener("click", event => {
    if (event.target.classList?.contains("veil")) event.target.querySelector("[data-act=close]").click();
  });

  // Gradio replaces a piece of HTML as a whole: the focus goes from a button that is gone to the one that is the same.
  let last = null, open = null, opener = null;
  document.addEventListener("focusin", event => { last = event.target; });
  document.addEventListener("pointerdown", event => { if (!event.target.closest(STOPS)) last = null; });
  const clipOf = element => element.closest("[data-clip]")?.dataset.clip;
  const twin = old => [...document.querySelectorAll("[data-act]")].find(each => isVisible(each) &&
    each.dataset.act === old.dataset.act && each.dataset.ids === old.dataset.ids && clipOf(each) === clipOf(old));
  const standing = old => old && (old.isConnected ? (isVisible(old) ? old : null) : twin(old));

  new MutationObserver(() => {
    const dialog = shown();
    if (dialog?.matches("dialog")) return;
    if (dialog && dialog !== open) {
      const act = open?.contains(last) && last.dataset.act;
      if (!open) opener = last;
      open = dialog;
      (act && dialog.querySelector(`[data-act="${act}"]`) || stops(dialog)[0])?.focus();
    } else if (!dialog && open) {
      open = null;
      (standing(opener) ?? document.querySelector("#rooms [role=tab][aria-selected=true]"))?.focus();
    } else if (last && !last.isConnected && document.activeElement === document.body) {
      standing(last)?.focus({preventScroll: true});
    }
  }).observe(document.documentElement, {childList: true, subtree: true});
})();
