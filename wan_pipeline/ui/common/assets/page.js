// What Gradio has no event for: the keyboard, the theme, the address, videos that start by themselves. No network.
(() => {
  const isVisible = element => element && element.offsetParent !== null;
  const mainButton = () => [...document.querySelectorAll(".generate-button, .add-button")].find(isVisible);

  // Ctrl+Enter (Cmd+Enter on a Mac) generates, or adds to the queue, from anywhere on the page.
  document.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat) {
      event.preventDefault();
      event.stopPropagation();
      mainButton()?.click();
    }
  }, true);

  // Light or dark: as the system has it, until the button in the header is used. Gradio sets the class of the body
  // late, so watch it.
  let theme = localStorage.getItem("wan-studio-theme");
  const isDark = () => document.body.classList.contains("dark");
  const applyTheme = () => { if (theme && isDark() !== (theme === "dark")) document.body.classList.toggle("dark"); };
  const watchTheme = () => {
    new MutationObserver(applyTheme).observe(document.body, {attributes: true, attributeFilter: ["class"]});
    applyTheme();
  };
  if (document.body) watchTheme();
  else addEventListener("DOMContentLoaded", watchTheme);
  document.addEventListener("click", event => {
    if (!event.target.closest("[data-action=theme]")) return;
    theme = isDark() ? "light" : "dark";
    localStorage.setItem("wan-studio-theme", theme);
    applyTheme();
  });

  // A clip starts by itself. Browsers allow that only when it is muted, and a <video> set as HTML may forget that it is.
  document.addEventListener("loadstart", event => {
    const video = event.target;
    if (video.tagName !== "VIDEO" || !video.autoplay) return;
    video.muted = true;
    video.play().catch(() => {});
  }, true);

  // An answer that never comes, as when the computer has slept, would keep its event waiting for ever, and all later ones
  // behind it. After this time it is a lost connection, after which Gradio loads the page anew. A richer prompt, which
  // takes longest, comes within ten minutes.
  const ANSWER_MS = 660_000, fetchAnswer = window.fetch;
  window.fetch = (resource, options = {}) => {
    const isEvent = String(resource.url ?? resource).includes("/gradio_api/run/") && !options.signal;
    return fetchAnswer(resource, isEvent ? {...options, signal: AbortSignal.timeout?.(ANSWER_MS)} : options);
  };

  // Rooms are found by their names.
  const tabOf = room => [...document.querySelectorAll("#rooms > .tab-wrapper [role=tab]")]
    .find(tab => tab.textContent.trim().toLowerCase() === room);

  const roomAtStart = new URLSearchParams(location.search).get("room");  // before Gradio enters the first room by itself

  window.wanStudio = {
    // Open the room in the address, as if its name were clicked.
    openRoom() {
      if (roomAtStart) tabOf(roomAtStart)?.click();
    },
    // Keep the open room in the address, so that a reload opens it again. Gradio enters the first room by itself, which
    // may come late and behind the open one: the tab that is selected counts, once Gradio has drawn it.
    enter(entered) {
      setTimeout(() => {
        const open = document.querySelector("#rooms > .tab-wrapper [role=tab][aria-selected=true]");
        const room = open ? open.textContent.trim().toLowerCase() : entered;
        const address = new URL(location.href);
        if (room === (address.searchParams.get("room") || "create")) return;
        if (room === "create") address.searchParams.delete("room");
        else address.searchParams.set("room", room);
        history.replaceState(history.state, "", address);
        scrollTo(0, 0);
      });
    },
    // How many clips run or wait, beside Queue in the head of the page; amber while the queue is paused.
    badge(text) {
      const tab = tabOf("queue");
      if (!tab) return;
      tab.dataset.count = (text || "").split(" ")[0];
      tab.dataset.paused = (text || "").endsWith("paused");
    },
    // This app has taken over: what was refused while it looked on may be done now.
    allowAgain(banner) {
      if ((banner || "").includes("data-looks-on")) return;
      for (const element of document.querySelectorAll("[data-refused]")) {
        element.disabled = false;
        for (const name of ["data-refused", "title"]) element.removeAttribute(name);
      }
    },
  };
})();
