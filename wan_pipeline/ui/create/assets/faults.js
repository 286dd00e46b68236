// Messages stand at the field that they are about. Gradio gives a form's messages one place, at its foot; this moves
// them, and says to screen readers which field is wrong. No network.
(() => {
  const INPUTS = "textarea, input:not([type=file]), [role=combobox]";
  const marked = ["aria-invalid", "aria-describedby"];

  const clear = form => {
    form.querySelectorAll(".fault.at-field").forEach(fault => fault.remove());
    form.querySelectorAll("[aria-invalid]").forEach(input => marked.forEach(name => input.removeAttribute(name)));
  };

  // A field in a closed accordion is shown; one that the form hides is not.
  const reveal = field => {
    const accordion = field.closest(".gr-accordion");
    const button = accordion?.querySelector("button.label-wrap");
    if (field.offsetParent === null && button && !button.classList.contains("open")) button.click();
    return field.offsetParent !== null || accordion;
  };

  const place = (fault, field) => {
    const copy = fault.cloneNode(true);
    copy.id = `${field.id}-fault`;
    copy.classList.add("at-field");
    field.append(copy);
    fault.classList.add("moved");
    const inputs = field.querySelectorAll(INPUTS);
    inputs.forEach(input => {
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", copy.id);
    });
    return inputs[0];
  };

  Object.assign(window.wanStudio, {
    // Move the messages in the foot of a form to their fields, one a field; those of a failed Generate come first.
    placeFaults(foot, slot) {
      const form = foot.closest(".form-tab");
      clear(form);
      const placed = new Set();
      for (const fault of foot.querySelectorAll(".fault")) {
        const field = document.getElementById(fault.dataset.field || "none");
        const isSecond = placed.has(field);
        fault.classList.toggle("moved", isSecond);
        if (!field || isSecond || !reveal(field)) continue;
        placed.add(field);
        const input = place(fault, field);
        if (!slot.contains(fault) || !fault.querySelector("[role=alert]")) continue;  // what stood before is known
        field.scrollIntoView({block: "center", behavior: "smooth"});
        input?.focus({preventScroll: true});
      }
    },
    // Whenever a message comes, goes or changes. Gradio may change a text in place.
    watchFaults(slot) {
      const changes = new MutationObserver(() => this.placeFaults(slot.closest(".generate-bar"), slot));
      changes.observe(slot, {childList: true, subtree: true, characterData: true, attributeFilter: ["data-field"]});
    },
  });
})();
