// The Create room: the form in the browser's storage, bounds of the length, and scrolling on a phone. No network.
(() => {
  // The number beside the slider stays within its bounds: Gradio clamps it only after it has sent it.
  const clamp = event => {
    const box = event.target;
    if (!box.matches?.(".slim input[type=number]")) return;
    const value = parseFloat(box.value);
    if (value > Number(box.max)) box.value = box.max;
    if (value >= Number(box.min)) return;
    if (event.type === "input") {
      event.stopImmediatePropagation();  // perhaps it is half typed
    } else {
      box.value = box.min;
      box.dispatchEvent(new Event("input", {bubbles: true}));
    }
  };
  document.addEventListener("input", clamp, true);
  document.addEventListener("change", clamp, true);

  // On a phone the stage is below the form: scroll to it when a clip is asked for.
  let wasAsked = false;
  document.addEventListener("click", event => { if (event.target.closest(".generate-button")) wasAsked = true; }, true);

  // And back to the form when a clip fills it.
  document.addEventListener("click", event => {
    const form = document.getElementById("form");
    if (event.target.closest(".to-form") && form.getBoundingClientRect().bottom < innerHeight / 2) {
      form.scrollIntoView({behavior: "smooth", block: "start"});
    }
  });

  // The form of each mode is kept for each project by itself; without a project under the name that it always had.
  const projectKey = "wan-studio-project", noProject = "default";
  const projectAtStart = localStorage.getItem(projectKey) || noProject;
  const openProject = {"text-to-video": projectAtStart, "image-to-video": projectAtStart};
  const formKey = mode =>
    `wan-studio-form-${openProject[mode] === noProject ? "" : `${openProject[mode]}-`}${mode}`;
  const savedAtStart = Object.fromEntries(  // read at once, for the form's defaults are saved as soon as they are set
    Object.keys(openProject).map(mode => [mode, localStorage.getItem(formKey(mode)) || ""]));

  Object.assign(window.wanStudio, {
    // Save what was typed, so that a reload loses nothing.
    saveForm(mode, names, values) {
      const form = Object.fromEntries(names.map((name, place) => [name, values[place]]));
      localStorage.setItem(formKey(mode), JSON.stringify(form));
    },
    savedForm: mode => savedAtStart[mode],
    project: () => projectAtStart,
    // The project that the page has opened: another one where the one of before is gone.
    keepProject: project => localStorage.setItem(projectKey, project || noProject),
    // The form that this browser has of another project; "same" for the one that is open.
    switchForm(mode, project) {
      project = project || noProject;
      if (openProject[mode] === project) return "same";
      openProject[mode] = project;
      localStorage.setItem(projectKey, project);
      return localStorage.getItem(formKey(mode)) || "";
    },
    // Keep the job on the stage in the address, so that a reload shows it again.
    keepJob(job) {
      const address = new URL(location.href);
      if (!job || job === address.searchParams.get("job")) return;
      address.searchParams.set("job", job);
      history.replaceState(history.state, "", address);
      const stage = document.getElementById("stage");
      if (wasAsked && stage.getBoundingClientRect().top > innerHeight * 0.4) {
        stage.scrollIntoView({behavior: "smooth", block: "start"});
      }
      wasAsked = false;
    },
  });
})();
