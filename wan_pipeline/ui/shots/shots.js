// The Shots room by keyboard, and posters that play while the pointer or the keyboard is on them.
(() => {
  const takeOf = target => target?.closest?.(".take[data-video]");

  const play = take => {
    if (take.querySelector("video")) return;
    const video = document.createElement("video");
    Object.assign(video, {src: take.dataset.video, muted: true, loop: true, autoplay: true, playsInline: true});
    video.setAttribute("aria-hidden", "true");
    take.querySelector(".take-picture").append(video);
  };
  const stop = take => take.querySelector("video")?.remove();
  document.addEventListener("pointerover", event => { const take = takeOf(event.target); if (take) play(take); });
  document.addEventListener("pointerout", event => {
    const take = takeOf(event.target);
    if (take && !take.contains(event.relatedTarget)) stop(take);
  });

  document.addEventListener("click", event => {
    const button = event.target.closest?.("[data-upload]");
    if (button && !button.disabled) document.getElementById(button.dataset.upload)?.click();
  });

  // A reviewer's frame, with the mark that was drawn on it until the take plays on.
  const draw = (view, mark) => {
    view.querySelector("svg")?.remove();
    if (!mark.length) return;
    view.insertAdjacentHTML("beforeend", '<svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true"><polyline vector-effect="non-scaling-stroke"/></svg>');
    view.querySelector("polyline").setAttribute("points", mark.map(point => point.join(",")).join(" "));
  };
  document.addEventListener("click", event => {
    const button = event.target.closest?.(".shots-dialog [data-frame]");
    const view = button?.closest(".shots-dialog").querySelector(".take-view"), video = view?.querySelector("video");
    if (!video) return;
    video.pause();
    video.currentTime = (Number(button.dataset.frame) + 0.5) / Number(video.dataset.fps);
    draw(view, JSON.parse(button.dataset.mark || "[]"));
    video.addEventListener("play", () => draw(view, []), {once: true});
  });

  // Arrow keys go from take to take and from shot to shot; letters act on the take or the shot that has the keyboard.
  const KEYS = {p: "pick-take", x: "reject-take", f: "finish", n: "new-take", a: "again", c: "edit", v: "pick", Enter: "open"};
  const step = (from, key) => {
    const row = from.closest(".shot"), stops = [...row.querySelectorAll("[data-focus]")];
    if (key === "ArrowLeft" || key === "ArrowRight")
      return stops[stops.indexOf(from) + (key === "ArrowLeft" ? -1 : 1)];
    const rows = [...document.querySelectorAll("#shots-board .shot")];
    const other = rows[rows.indexOf(row) + (key === "ArrowUp" ? -1 : 1)];
    const next = other && [...other.querySelectorAll("[data-focus]")];
    return next && next[Math.min(stops.indexOf(from), next.length - 1)];
  };
  document.addEventListener("keydown", event => {
    const from = event.target.closest?.("#shots-board [data-focus]");
    if (!from || event.ctrlKey || event.metaKey || event.target.matches("input, textarea")) return;
    if (event.key.startsWith("Arrow") && event.altKey) {
      const button = from.closest(".shot").querySelector(`[data-act=move-${event.key === "ArrowUp" ? "up" : "down"}]`);
      if (button) { event.preventDefault(); button.click(); }
      return;
    }
    if (event.key.startsWith("Arrow")) {
      const next = step(from, event.key);
      if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({block: "nearest", inline: "nearest"}); }
      return;
    }
    const act = /^[0-5]$/.test(event.key) ? `rate-${event.key}` : KEYS[event.key];
    const button = act && (from.querySelector(`[data-act=${act}]`) ?? from.closest(".shot").querySelector(`[data-act=${act}]`));
    if (!button) return;
    event.preventDefault();
    button.click();
  });
})();
