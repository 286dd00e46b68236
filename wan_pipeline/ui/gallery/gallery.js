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

  // Another model for sound: its own proposal, unless the words were edited, and what is to be known of it.
  document.addEventListener("change", event => {
    const choice = event.target.closest(".sheet [data-proposes]");
    if (!choice) return;
    const form = choice.closest("[data-fields]"), chosen = choice.selectedOptions[0].dataset;
    const prompt = form.querySelector("textarea");
    if ([...choice.options].some(each => each.dataset.proposal === prompt.value)) prompt.value = chosen.proposal;
    for (const name of ["help", "facts"]) form.querySelector(`span[data-${name}]`).textContent = chosen[name];
    form.querySelector("[name=seconds]").value = chosen.seconds;
  });

  // A star on the sheet changes here: a sheet that is sent again would restart its clip.
  document.addEventListener("click", event => {
    const star = event.target.closest(".sheet [data-act=star]");
    if (star) star.setAttribute("aria-pressed", String(star.getAttribute("aria-pressed") !== "true"));
  });
})();
