// The Models room: transfers move on within their cards, and what was found out goes into the open question.
(() => {
  const write = (card, name, text) => {
    const place = card?.querySelector(`[data-${name}]`);
    if (place && place.textContent !== text) place.textContent = text;
  };
  let begun = null;  // its card goes to the upper shelf, so the person is taken there
  document.addEventListener("click", event => {
    const button = event.target.closest("#model-over [data-act=fetch]");
    if (button) begun = button.closest("[data-clip]").dataset.clip;
  }, true);

  Object.assign(window.wanStudio, {
    // Numbers alone change, so that a button stays the same under the pointer.
    pulse(text) {
      for (const [id, said] of Object.entries(JSON.parse(text || "{}"))) {
        const card = document.querySelector(`#model-grid [data-clip="${CSS.escape(id)}"]`);
        for (const name of ["verb", "amount", "rate", "left", "file"]) write(card, name, said[name]);
        const bar = card?.querySelector("[data-share]");
        if (bar) bar.style.width = said.share;
        if (card && id === begun) {
          card.scrollIntoView({behavior: "smooth", block: "center"});
          begun = null;
        }
      }
    },
    // Only into the question that is open still: it may have been closed meanwhile, or be another one.
    answer(html) {
      const slot = document.querySelector("#model-over .ask-slot");
      const found = document.createRange().createContextualFragment(html || "");
      if (slot && found.firstElementChild?.dataset.for === slot.dataset.for) slot.replaceChildren(found);
    },
  });
})();
