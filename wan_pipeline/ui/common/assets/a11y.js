// What Gradio leaves out for the keyboard and for screen readers, set once its parts are drawn.
(() => {
  // Each of Gradio's radio buttons has a name of its own, so each is a Tab stop and no arrow key leads to the next.
  let groups = 0;
  const nameGroups = () => {
    for (const group of document.querySelectorAll("fieldset:has(input[type=radio])")) {
      if (!group.dataset.group) {
        group.dataset.group = `group-${++groups}`;
        group.setAttribute("role", "radiogroup");
        group.setAttribute("aria-label", group.querySelector("[data-testid=block-info]")?.textContent.trim() ?? "");
      }
      for (const radio of group.querySelectorAll("input[type=radio]")) {
        if (radio.name !== group.dataset.group) radio.name = group.dataset.group;
      }
    }
  };
  new MutationObserver(nameGroups).observe(document.documentElement, {childList: true, subtree: true});

  // It gives a button another name whenever it is chosen or left.
  const keepNames = changes => {
    for (const {target} of changes) {
      const name = target.type === "radio" && target.closest("fieldset[data-group]")?.dataset.group;
      if (name && target.name !== name) target.name = name;
    }
  };
  new MutationObserver(keepNames).observe(document.documentElement, {attributeFilter: ["name"], subtree: true});

  // Radio buttons of our own templates: the arrow keys choose the next one.
  const STEPS = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
  document.addEventListener("keydown", event => {
    const radio = event.target.closest?.("button[role=radio]"), step = STEPS[event.key];
    if (!radio || !step) return;
    event.preventDefault();
    const all = [...radio.closest("[role=radiogroup]").querySelectorAll("[role=radio]")];
    const next = all.at((all.indexOf(radio) + step) % all.length);
    next.focus();
    next.click();
  });
})();
