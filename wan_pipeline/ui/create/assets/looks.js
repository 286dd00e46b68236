// The buttons above the style cards show one group of them, in both forms alike. The chosen card is always shown.
document.addEventListener("click", event => {
  const clicked = event.target.closest(".look-groups button");
  if (!clicked) return;
  document.documentElement.dataset.looks = clicked.dataset.looks;
  for (const button of document.querySelectorAll(".look-groups button")) {
    button.setAttribute("aria-pressed", String(button.dataset.looks === clicked.dataset.looks));
  }
});
