// A button that exports takes along what is chosen beside it: `data-format`, `data-media` and the boxes of its dialog.
document.addEventListener("click", event => {
  const button = event.target.closest?.("[data-options]");
  if (!button) return;
  const chosen = {format: button.dataset.format};
  if (button.dataset.media !== undefined) chosen.media = button.dataset.media;
  for (const box of button.closest("[role=dialog]").querySelectorAll("[data-option]"))
    chosen[box.dataset.option] = box.type === "number" ? Math.trunc(Number(box.value)) : box.value;
  button.dataset.ids = JSON.stringify(chosen);
}, true);
