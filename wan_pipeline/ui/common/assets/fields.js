// Gradio keeps the fields of HTML that it draws anew, and a field keeps what was typed into it: so the words of one clip
// would stand beside another. A field whose value the server has changed shows that one.
(() => {
  const isText = element => element.matches("textarea, input:not([type=checkbox], [type=radio], [type=file])");
  new MutationObserver(changes => {
    for (const {target, type} of changes) {
      const element = type === "characterData" ? target.parentElement : target;
      if (!element) continue;
      if (element.tagName === "OPTION" && element.defaultSelected) element.selected = true;
      if (isText(element) && element.value !== element.defaultValue) element.value = element.defaultValue;
    }
  }).observe(document.documentElement, {
    subtree: true, childList: true, characterData: true, attributeFilter: ["value", "selected"],
  });
})();
