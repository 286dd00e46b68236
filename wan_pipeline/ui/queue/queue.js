// Chosen rows of the queue. They are known by their ids, so that they stay chosen when the list is drawn anew.
(() => {
  const chosen = new Set();
  const boxes = () => [...document.querySelectorAll("#queue-rows [data-choose]")];
  const idOf = box => box.closest("[data-clip]").dataset.clip;

  const show = () => {
    if (!document.getElementById("queue-rows")?.offsetParent) return;  // another room is open
    const all = boxes(), ids = new Set(all.map(idOf));
    for (const id of chosen) if (!ids.has(id)) chosen.delete(id);
    for (const box of all) box.checked = chosen.has(idOf(box));
    const bar = document.querySelector("#queue-bar .chosen");
    if (!bar) return;
    const everything = bar.querySelector("[data-choose-all]");
    everything.checked = chosen.size > 0 && chosen.size === ids.size;
    everything.indeterminate = chosen.size > 0 && chosen.size < ids.size;
    bar.classList.toggle("some", chosen.size > 0);
    const count = bar.querySelector("output"), words = chosen.size ? `${chosen.size} chosen` : "";
    if (count.textContent !== words) count.textContent = words;
    for (const button of bar.querySelectorAll("[data-act]")) button.dataset.ids = [...chosen].join(" ");
  };

  document.addEventListener("change", event => {
    const box = event.target;
    if (box.matches("[data-choose]")) {
      if (box.checked) chosen.add(idOf(box)); else chosen.delete(idOf(box));
    } else if (box.matches("[data-choose-all]")) {
      for (const each of boxes()) if (box.checked) chosen.add(idOf(each)); else chosen.delete(idOf(each));
    } else return;
    show();
  });
  new MutationObserver(show).observe(document.documentElement, {
    childList: true, subtree: true, attributeFilter: ["data-clip"],  // a row may become that of another clip
  });
})();
