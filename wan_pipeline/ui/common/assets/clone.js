// Gradio's frontend copies the properties of components by calling structuredClone for every single number and text:
// 60,000 times while the page opens. Those are values already, and the browser's own function is slow for them.
(() => {
  const structured = window.structuredClone;
  const isValue = thing => thing === null || !["object", "function", "symbol"].includes(typeof thing);
  window.structuredClone = (thing, options) => (isValue(thing) ? thing : structured(thing, options));
})();
