// Gradio keeps the fields of HTML that it draws anew, and a field keeps what was typed into it: so the words of one clip
// would stand beside another, and what was refused would stay. A field whose value the server has changed shows that one.
// All fields of a part show the server's when the part is of another clip (data-clip), or says that it is drawn anew
// (data-drawn-at).
(() => {
  const FIELDS = "input, textarea, select", TICKS = "[type=checkbox], [type=radio]";
  const TEXTS = `textarea, input:not(${TICKS}, [type=file])`;

  // What is being typed stays when the same clip is drawn again: not yet sent, it would be lost.
  let typing = null;
  const stop = () => { typing = null; };
  document.addEventListener("input", ({target}) => {
    if (target === document.activeElement) typing = {field: target, text: target.value};
  }, true);
  document.addEventListener("change", stop, true);
  document.addEventListener("focusout", stop, true);

  const put = (field, text) => { if (field.value !== text) field.value = text; };
  const show = field => {
    if (field === typing?.field) put(field, typing.text);
    else if (field.matches("select")) {
      field.selectedIndex = Math.max(0, [...field.options].findLastIndex(option => option.defaultSelected));
    } else if (field.matches(TICKS)) field.checked = field.defaultChecked;
    else put(field, field.defaultValue);
  };
  const showAll = (part, name, old) => {
    const mark = part.getAttribute(name);
    if (mark === null || mark === old) return;
    if (name === "data-clip" && part.contains(typing?.field)) stop();
    part.querySelectorAll(FIELDS).forEach(show);
  };

  new MutationObserver(changes => {
    for (const {target, type, attributeName, oldValue} of changes) {
      const element = type === "characterData" ? target.parentElement : target;
      if (!element) continue;
      if (attributeName?.startsWith("data-")) showAll(element, attributeName, oldValue);
      else if (element.matches({selected: "select option", checked: TICKS}[attributeName] ?? TEXTS)) {
        show(element.closest("select") ?? element);
      }
    }
  }).observe(document.documentElement, {
    subtree: true, childList: true, characterData: true, attributeOldValue: true,
    attributeFilter: ["value", "selected", "checked", "data-clip", "data-drawn-at"],
  });
})();
