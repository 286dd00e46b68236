// Compare: the longest clip leads, the others follow it within a frame or so; one slider moves them all.
(() => {
  const shown = () => document.querySelector(".compare");
  const videos = view => [...view.querySelectorAll("video")].sort((one, two) => (two.duration || 0) - (one.duration || 0));
  const APART_SECONDS = 0.06, BACK_SECONDS = 0.5;
  const seek = (video, seconds) => {
    video.currentTime = Math.max(0, Math.min(seconds, Math.max(video.duration - 0.001, 0)));
  };

  const keepBeside = (leader, other) => {
    const wanted = Math.min(leader.currentTime, other.duration);
    if (Math.abs(other.currentTime - wanted) > APART_SECONDS) seek(other, wanted);
    if (other.playbackRate !== leader.playbackRate) other.playbackRate = leader.playbackRate;
    if (!leader.paused && other.paused && wanted < other.duration) other.play().catch(() => {});
    if (leader.paused && !other.paused) other.pause();
  };
  const follow = () => {
    const view = shown();
    if (!view) return;
    const [leader, ...others] = videos(view);
    if (leader.duration && others.every(other => other.duration)) {
      if (!view.dataset.begun) {
        view.dataset.begun = "yes";
        leader.play().catch(() => {});
      }
      if (leader.ended) {
        for (const video of [leader, ...others]) seek(video, 0);
        leader.play().catch(() => {});
      }
      others.forEach(other => keepBeside(leader, other));
      const slider = view.querySelector("[data-scrub]");
      if (document.activeElement !== slider || !leader.paused) slider.value = 1000 * leader.currentTime / leader.duration;
      const time = view.querySelector("[data-time]"), words = `${leader.currentTime.toFixed(2)} of ${leader.duration.toFixed(2)} s`;
      if (time.textContent !== words) time.textContent = words;
      view.querySelector("[data-play]").classList.toggle("playing", !leader.paused);
    }
    requestAnimationFrame(follow);
  };

  const stars = figure => figure.querySelectorAll(".rating button").forEach((star, place) =>
    star.setAttribute("aria-pressed", String(place < Number(figure.dataset.rating))));
  const open = new WeakSet();
  new MutationObserver(() => {
    const view = shown();
    if (!view || open.has(view)) return;
    open.add(view);
    view.querySelectorAll("video").forEach(video => { video.muted = true; });  // else a browser may not start them
    view.querySelectorAll("figure").forEach(stars);
    requestAnimationFrame(follow);
  }).observe(document.documentElement, {childList: true, subtree: true});

  const play = (view, rate = 1) => { const [leader] = videos(view); leader.playbackRate = rate; leader.play().catch(() => {}); };
  const pause = view => videos(view)[0].pause();
  const toggle = view => (videos(view)[0].paused ? play(view) : pause(view));
  const move = (view, seconds) => {
    pause(view);
    const all = videos(view), wanted = all[0].currentTime + seconds;
    all.forEach(video => seek(video, wanted));
  };
  const step = (view, by) => { const [leader] = videos(view); move(view, by / (Number(leader.dataset.fps) || 16)); };
  const faster = view => { const [leader] = videos(view); play(view, leader.paused ? 1 : Math.min(leader.playbackRate * 2, 8)); };

  // What is judged shows at once: a view that is sent again would restart its clips.
  const judged = button => {
    const figure = button.closest("figure"), act = button.dataset.act;
    if (act.startsWith("rate-")) { figure.dataset.rating = act.slice(-1); stars(figure); return; }
    const isPressed = act === "pick-take" || button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isPressed));
    if (act === "reject-take") figure.classList.toggle("rejected", isPressed);
  };
  document.addEventListener("click", event => {
    const view = event.target.closest?.(".compare");
    if (!view) return;
    const button = event.target.closest("button");
    if (button?.matches("[data-play]")) toggle(view);
    if (button?.matches("[data-view]")) {
      view.dataset.mode = button.dataset.view;
      view.querySelectorAll("[data-view]").forEach(each => each.setAttribute("aria-pressed", String(each === button)));
    }
    if (button?.matches("[data-loupe]")) {
      const isOn = view.classList.toggle("loupe");
      button.setAttribute("aria-pressed", String(isOn));
    }
    if (button?.matches(".judge [data-act]") && !button.disabled) judged(button);
  });

  const KEYS = {
    " ": toggle, k: pause, l: faster, j: view => move(view, -BACK_SECONDS),
    ArrowLeft: view => step(view, -1), ArrowRight: view => step(view, 1),
  };
  document.addEventListener("keydown", event => {
    const view = shown();
    if (!view || event.ctrlKey || event.metaKey || event.target.matches("input")) return;
    const figure = event.target.closest("figure"), act = {p: "pick-take", x: "reject-take"}[event.key];
    const judge = figure?.querySelector(`[data-act=${act ?? (/^[0-5]$/.test(event.key) ? `rate-${event.key}` : "none")}]`);
    if (judge) { event.preventDefault(); judge.click(); return; }
    if (!KEYS[event.key] || (event.key === " " && event.target.matches("button"))) return;
    event.preventDefault();
    KEYS[event.key](view);
  });
  document.addEventListener("input", event => {
    if (!event.target.matches("[data-scrub]")) return;
    const all = videos(event.target.closest(".compare"));
    all[0].pause();
    for (const video of all) seek(video, all[0].duration * event.target.value / 1000);
  });
  // The wipe and the loupe follow the pointer, the same place in every clip.
  document.addEventListener("pointermove", event => {
    const frame = event.target.closest?.(".compare .frame");
    if (!frame) return;
    const box = frame.getBoundingClientRect(), view = frame.closest(".compare");
    view.style.setProperty("--x", `${100 * (event.clientX - box.left) / box.width}%`);
    view.style.setProperty("--y", `${100 * (event.clientY - box.top) / box.height}%`);
  });
})();
