// The Models room: writes progress into the cards of running transfers, and answers into the open dialog.
(() => {
  const write = (card, name, text) => {
    const element = card?.querySelector(`[data-${name}]`);
    if (element && element.textContent !== text) element.textContent = text;
  };
  let started = null;  // a model whose download was just confirmed: its card moves, and is shown at its new place
  document.addEventListener("click", event => {
    const button = event.target.closest("#model-over [data-act=fetch]");
    if (button) started = button.closest("[data-clip]").dataset.clip;
  }, true);

  Object.assign(window.wanStudio, {
    // Only texts change, so that a button does not vanish under the pointer.
    transferProgress(json) {
      for (const [id, texts] of Object.entries(JSON.parse(json || "{}"))) {
        const card = document.querySelector(`#model-grid [data-clip="${CSS.escape(id)}"]`);
        for (const name of ["verb", "amount", "rate", "left", "file"]) write(card, name, texts[name]);
        const bar = card?.querySelector("[data-share]");
        if (bar) bar.style.width = texts.share;
        if (card && id === started) {
          card.scrollIntoView({behavior: "smooth", block: "center"});
          started = null;
        }
      }
    },
    // Only into the dialog that asked: the user may have closed it, or opened another one.
    answer(html) {
      const slot = document.querySelector("#model-over .ask-slot");
      const answer = document.createRange().createContextualFragment(html || "");
      if (slot && answer.firstElementChild?.dataset.for === slot.dataset.for) slot.replaceChildren(answer);
    },
  });
})();
