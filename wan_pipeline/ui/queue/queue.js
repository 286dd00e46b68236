// Files dropped anywhere on the page, exports that download themselves, and Escape in the queue. No network.
(() => {
  // A clip gives its settings to the form, a list goes to the queue; what leads a clip keeps to its own box.
  const homes = [[/\.mp4$/i, "clip-upload"], [/\.(csv|jsonl|zip)$/i, "queue-upload"]];
  const home = file => homes.find(([pattern]) => pattern.test(file.name))?.[1];
  const hasFiles = event => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const inImageBox = event => event.target.closest?.(".first-frame");
  let leaving = 0;
  const dropping = is => document.body.classList.toggle("dropping", is);
  document.addEventListener("dragover", event => {
    if (!hasFiles(event) || inImageBox(event)) return;
    event.preventDefault();
    clearTimeout(leaving);
    leaving = setTimeout(() => dropping(false), 200);
    dropping(true);
  });
  document.addEventListener("drop", event => {
    if (!hasFiles(event)) return;
    const file = event.dataTransfer.files[0];
    if (event.target.closest?.(".takes-video")) return;  // it leads a clip, and is not one to take settings from
    const id = file && home(file);
    if (!id) {
      if (!inImageBox(event)) event.preventDefault();  // else the browser would leave the page for the file
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    give(id, file);
  }, true);
  const give = (id, file) => {
    const input = document.querySelector(`#${id} input[type=file], input[type=file]#${id}`) ??
      document.getElementById(id)?.parentElement?.querySelector("input[type=file]");
    if (!input) return;
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
  };

  // What was exported downloads at once; its link stays for a second time.
  new MutationObserver(() => {
    for (const link of document.querySelectorAll("a[data-auto]:not([data-done])")) {
      link.dataset.done = "yes";
      link.click();
    }
  }).observe(document.documentElement, {childList: true, subtree: true});

  document.addEventListener("keydown", event => {
    if (event.key === "Escape") document.querySelector(".dialog [data-act=close]")?.click();
  });
  document.addEventListener("click", event => {
    if (event.target.classList?.contains("veil")) event.target.querySelector("[data-act=close]").click();
  });

  // What cannot be undone is asked about once more.
  const sure = {"empty-bin": "Delete all clips in the bin for good?"};
  document.addEventListener("click", event => {
    const button = event.target.closest(Object.keys(sure).map(id => `#${id}`).join(", "));
    if (button && !confirm(sure[button.id])) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);
})();
