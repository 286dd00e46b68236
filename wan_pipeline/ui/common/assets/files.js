// Files dropped anywhere on the page, and links that download by themselves.
(() => {
  // A clip gives its settings to the form, a list goes to the queue, a LoRA to its folder; a dropped input file stays in its own box.
  const homes = [[/\.(mp4|mov|mkv|webm)$/i, "clip-upload"], [/\.(csv|tsv|txt|json|jsonl|ndjson|xlsx|zip)$/i, "queue-upload"],
    [/\.safetensors$/i, "lora-upload"]];
  const home = file => homes.find(([pattern]) => pattern.test(file.name))?.[1];
  // While the Train room is open, its dataset takes all files, but for a LoRA.
  const isTraining = file => document.getElementById("dataset-upload")?.offsetParent && home(file) !== "lora-upload";
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
    if (event.target.closest?.(".takes-video")) return;  // a control video, not a clip to take settings from
    const id = file && (isTraining(file) ? "dataset-upload" : home(file));
    if (!id) {
      if (!inImageBox(event)) event.preventDefault();  // else the browser would open the file in place of the page
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    give(id, id === "dataset-upload" ? event.dataTransfer.files : [file]);
  }, true);
  const give = (id, dropped) => {
    const input = document.querySelector(`#${id} input[type=file], input[type=file]#${id}`) ??
      document.getElementById(id)?.parentElement?.querySelector("input[type=file]");
    if (!input) return;
    const files = new DataTransfer();
    for (const file of dropped) files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
  };

  // A file box of our own templates gives its file to one of Gradio's, which uploads it.
  document.addEventListener("change", event => {
    const id = event.target.dataset?.give;
    if (id && event.target.files.length) give(id, event.target.files);
  });

  // A saving link is clicked once; it stays for a second time.
  new MutationObserver(() => {
    for (const link of document.querySelectorAll("a[data-auto]:not([data-done])")) {
      link.dataset.done = "yes";
      link.click();
    }
  }).observe(document.documentElement, {childList: true, subtree: true});
})();
