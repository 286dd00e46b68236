// The gallery's arrow keys, and what its buttons do at once.
(() => {
  const shown = selector => document.querySelector(selector);

  // The arrow keys go to the clips beside the open one.
  document.addEventListener("keydown", event => {
    const open = shown(".sheet, .compare");
    if (!open || event.target.matches("textarea, input")) return;
    const act = {ArrowLeft: "previous", ArrowRight: "next"}[event.key];
    const button = act && open.querySelector(`[data-act=${act}]`);
    if (!button) return;
    event.preventDefault();
    button.click();
  });

  // Emptying the bin cannot be undone, so it is confirmed first.
  document.addEventListener("click", event => {
    if (!event.target.closest("#empty-bin") || confirm("Delete all clips in the bin for good?")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);

  // A star on the sheet changes here: a sheet that is sent again would restart its clip.
  document.addEventListener("click", event => {
    const star = event.target.closest(".sheet [data-act=star]");
    if (star) star.setAttribute("aria-pressed", String(star.getAttribute("aria-pressed") !== "true"));
  });
})();
