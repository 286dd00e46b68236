// Escape, or a click beside it, closes a dialog.
(() => {
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") document.querySelector(".dialog [data-act=close]")?.click();
  });
  document.addEventListener("click", event => {
    if (event.target.classList?.contains("veil")) event.target.querySelector("[data-act=close]").click();
  });
})();
