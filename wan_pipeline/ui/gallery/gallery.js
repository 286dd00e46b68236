// The gallery's arrow keys, and two clips under one set of controls.
(() => {
  const shown = selector => document.querySelector(selector);

  // The arrow keys go to the clips beside the open one.
  document.addEventListener("keydown", event => {
    const open = shown(".sheet, .compare");
    if (!open || event.target.matches("textarea, input")) return;
    const act = {ArrowLeft: "previous", ArrowRight: "next"}[event.key];
    const button = act && open.querySelector(`[data-act=${act}]`);
    if (!button) return;
    event.preventDefault();
    button.click();
  });

  // Emptying the bin cannot be undone, so it is confirmed first.
  document.addEventListener("click", event => {
    if (!event.target.closest("#empty-bin") || confirm("Delete all clips in the bin for good?")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);

  // A star on the sheet changes here: a sheet that is sent again would restart its clip.
  document.addEventListener("click", event => {
    const star = event.target.closest(".sheet [data-act=star]");
    if (star) star.setAttribute("aria-pressed", String(star.getAttribute("aria-pressed") !== "true"));
  });

  // Compare: the longer clip leads, the other follows it within a frame or so; one slider moves both.
  const APART_SECONDS = 0.06;
  const clips = view => {
    const [one, two] = view.querySelectorAll("video");
    return one.duration >= two.duration ? [one, two] : [two, one];
  };
  const seek = (video, seconds) => { video.currentTime = Math.min(seconds, Math.max(video.duration - 0.001, 0)); };

  const follow = () => {
    const view = shown(".compare");
    if (!view) return;
    const [leader, other] = clips(view);
    if (leader.duration && other.duration) {
      if (!view.dataset.begun) {
        view.dataset.begun = "yes";
        leader.play().catch(() => {});
      }
      if (leader.ended) {
        seek(leader, 0);
        seek(other, 0);
        leader.play().catch(() => {});
      }
      const wanted = Math.min(leader.currentTime, other.duration);
      if (Math.abs(other.currentTime - wanted) > APART_SECONDS) seek(other, wanted);
      if (!leader.paused && other.paused && wanted < other.duration) other.play().catch(() => {});
      if (leader.paused && !other.paused) other.pause();
      const slider = view.querySelector("[data-scrub]");
      if (document.activeElement !== slider || !leader.paused) slider.value = 1000 * leader.currentTime / leader.duration;
      const time = view.querySelector("[data-time]"), words = `${leader.currentTime.toFixed(2)} of ${leader.duration.toFixed(2)} s`;
      if (time.textContent !== words) time.textContent = words;
      view.querySelector("[data-play]").classList.toggle("playing", !leader.paused);
    }
    requestAnimationFrame(follow);
  };

  const open = new WeakSet();
  new MutationObserver(() => {
    const view = shown(".compare");
    if (!view || open.has(view)) return;
    open.add(view);
    view.querySelectorAll("video").forEach(video => { video.muted = true; });  // else a browser may not start them
    requestAnimationFrame(follow);
  }).observe(document.documentElement, {childList: true, subtree: true});

  const toggle = view => {
    const [leader] = clips(view);
    if (leader.paused) leader.play().catch(() => {}); else leader.pause();
  };
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-play]");
    if (button) toggle(button.closest(".compare"));
  });
  document.addEventListener("keydown", event => {
    const view = shown(".compare");
    if (!view || event.key !== " " || event.target.matches("button")) return;
    event.preventDefault();
    toggle(view);
  });
  document.addEventListener("input", event => {
    if (!event.target.matches("[data-scrub]")) return;
    const pair = clips(event.target.closest(".compare"));
    pair[0].pause();
    for (const video of pair) seek(video, pair[0].duration * event.target.value / 1000);
  });
})();
