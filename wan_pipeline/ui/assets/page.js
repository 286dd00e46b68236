// What Gradio has no event for: the keyboard, the theme, the address bar. No network, no state of its own.
(() => {
  const seen = element => element && element.offsetParent !== null;
  const button = () => [...document.querySelectorAll(".generate-button, .add-button")].find(seen);

  // Ctrl+Enter (Cmd+Enter on a Mac) generates, or adds to the queue, from anywhere on the page.
  document.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat) {
      event.preventDefault();
      event.stopPropagation();
      button()?.click();
    }
  }, true);

  // The number beside a slider stays within its bounds: Gradio clamps late, after it has sent the number on.
  const hold = event => {
    const box = event.target;
    if (!box.matches?.(".slim input[type=number]")) return;
    const value = parseFloat(box.value);
    if (value > Number(box.max)) box.value = box.max;
    if (value >= Number(box.min)) return;
    if (event.type === "input") {
      event.stopImmediatePropagation();  // perhaps half typed
    } else {
      box.value = box.min;
      box.dispatchEvent(new Event("input", {bubbles: true}));
    }
  };
  document.addEventListener("input", hold, true);
  document.addEventListener("change", hold, true);

  // Light or dark: as the system says, until the button in the header is used. Gradio dresses the page late, so watch.
  let theme = localStorage.getItem("wan-studio-theme");
  const isDark = () => document.body.classList.contains("dark");
  const dress = () => { if (theme && isDark() !== (theme === "dark")) document.body.classList.toggle("dark"); };
  const watch = () => {
    new MutationObserver(dress).observe(document.body, {attributes: true, attributeFilter: ["class"]});
    dress();
  };
  if (document.body) watch();
  else addEventListener("DOMContentLoaded", watch);
  document.addEventListener("click", event => {
    if (!event.target.closest("[data-action=theme]")) return;
    theme = isDark() ? "light" : "dark";
    localStorage.setItem("wan-studio-theme", theme);
    dress();
  });

  // A clip starts by itself: browsers allow that only when it is muted, which a copied <video> may forget.
  document.addEventListener("loadstart", event => {
    const video = event.target;
    if (video.tagName !== "VIDEO" || !video.autoplay) return;
    video.muted = true;
    video.play().catch(() => {});
  }, true);

  // On a phone the stage lies below the form: go there when a clip is asked for.
  let asked = false;
  document.addEventListener("click", event => { if (event.target.closest(".generate-button")) asked = true; }, true);

  // And back to the form when a clip fills it.
  document.addEventListener("click", event => {
    const form = document.getElementById("form");
    if (event.target.closest(".to-form") && form.getBoundingClientRect().bottom < innerHeight / 2) {
      form.scrollIntoView({behavior: "smooth", block: "start"});
    }
  });

  // Rooms are told apart by their names.
  const tabOf = room => [...document.querySelectorAll("#rooms > .tab-wrapper [role=tab]")]
    .find(tab => tab.textContent.trim().toLowerCase() === room);

  const roomAtStart = new URLSearchParams(location.search).get("room");  // Gradio enters the first one by itself

  const formKey = mode => `wan-studio-form-${mode}`;
  const keptAtStart = Object.fromEntries(  // read at once: Gradio tells of changes while it fills in the defaults
    ["text-to-video", "image-to-video"].map(mode => [mode, localStorage.getItem(formKey(mode)) || ""]));

  window.wanStudio = {
    // What was typed stays in this browser, so that a reload loses nothing.
    keepForm(mode, names, values) {
      localStorage.setItem(formKey(mode), JSON.stringify(Object.fromEntries(names.map((name, place) => [name, values[place]]))));
    },
    keptForm: mode => keptAtStart[mode],
    // The room in the address, as if its name were clicked.
    openRoom() {
      if (roomAtStart) tabOf(roomAtStart)?.click();
    },
    // Keep the room in the address, so that a reload comes back to it. What lies open over a room closes with it.
    enter(room) {
      const address = new URL(location.href);
      if (room === "create") address.searchParams.delete("room");
      else address.searchParams.set("room", room);
      history.replaceState(history.state, "", address);
      scrollTo(0, 0);
    },
    // How many clips wait, beside the queue's name in the head of the page.
    badge(text) {
      const tab = tabOf("queue");
      if (!tab) return;
      tab.dataset.count = (text || "").split(" ")[0];
      tab.dataset.held = (text || "").endsWith("held");
    },
    // Keep the job in the address, so that a reload comes back to it.
    remember(job) {
      const address = new URL(location.href);
      if (!job || job === address.searchParams.get("job")) return;
      address.searchParams.set("job", job);
      history.replaceState(history.state, "", address);
      const stage = document.getElementById("stage");
      if (asked && stage.getBoundingClientRect().top > innerHeight * 0.4) {
        stage.scrollIntoView({behavior: "smooth", block: "start"});
      }
      asked = false;
    },
  };
})();
