// The review: the picked takes in the order of the shots, comments at a frame with a drawn mark, verdicts.
"use strict";

(() => {
  const WORDS = { approved: "Approved", changes: "Changes asked for" };
  let reel = [], now = null, mark = [], isDrawing = false, isPlayingThrough = false, isHeld = false, shownEarlier = false;
  const video = $("viewed"), canvas = $("drawing");
  const source = (id) => `v1/videos/${id}/content`;
  const frameNow = () => Math.min(Math.floor(video.currentTime * now.fps + 0.01), now.frames - 1);

  async function load() {
    try { reel = (await ask("v1/review")).data; } catch { reel = []; }
    $("review").hidden = reel.length === 0;
    const approved = reel.filter((each) => each.verdict === "approved").length;
    $("review-count").textContent = `${approved} of ${reel.length} approved.`;
    $("reel").replaceChildren(...reel.map(card));
  }

  function card(each) {
    const poster = make("img", { src: `${source(each.id)}?variant=thumbnail`, alt: "", loading: "lazy" });
    const button = make("button", { type: "button", ariaLabel: `Review shot ${each.address}` }, poster);
    button.addEventListener("click", guarded(() => show(each)));
    const state = WORDS[each.verdict] ?? (each.status === "final" ? "Final" : "Draft");
    return make("li", {}, button, make("p", { textContent: `${each.address}, take ${each.take}` }),
      make("p", { className: `soft verdict-${each.verdict ?? "none"}`, textContent: state }));
  }

  async function show(each, keepsPlaying = false) {
    now = each;
    shownEarlier = false;
    isPlayingThrough = keepsPlaying;
    $("viewer-title").textContent = `Shot ${each.address}, take ${each.take}`;
    $("viewer-text").textContent = each.description;
    $("verdict").textContent = WORDS[each.verdict] ?? "";
    $("earlier").hidden = each.earlier.length === 0;
    $("earlier").textContent = "Show the earlier version";
    $("frame-place").max = each.frames - 1;
    isHeld = false;
    video.src = source(each.id);
    undraw();
    if (!$("viewer").open) $("viewer").showModal();
    video.play().catch(() => { /* the browser wants a click first */ });
    await showComments();
  }

  async function showComments() {
    const { data } = await ask(`v1/videos/${now.id}/comments`);
    $("frame-comments").replaceChildren(...data.map((comment) => {
      const item = make("li", { className: comment.done ? "done" : "" }, make("time", { textContent: comment.author }));
      if (comment.frame !== null) {
        const at = make("button", { type: "button", className: "at", textContent: `frame ${comment.frame}` });
        at.addEventListener("click", () => { goTo(comment.frame); draw(comment.mark); });
        item.append(at, " ");
      }
      item.append(comment.text + (comment.done ? " (done)" : ""));
      return item;
    }));
  }

  // Frames

  function goTo(frame) {
    video.pause();
    isPlayingThrough = false;
    isHeld = true;  // the last frame is no end that is played on from
    video.currentTime = (Math.max(0, Math.min(frame, now.frames - 1)) + 0.5) / now.fps;
  }
  const toggle = () => (video.paused ? video.play().catch(() => {}) : video.pause());
  const step = (by) => { undraw(); goTo(frameNow() + by); };
  for (const kind of ["timeupdate", "seeked"]) video.addEventListener(kind, () => {
    if (!now) return;
    $("frame-place").value = frameNow();
    $("frame-number").textContent = `frame ${frameNow()}`;
  });
  video.addEventListener("play", () => { isHeld = false; undraw(); $("frame-play").textContent = "Pause"; });
  video.addEventListener("pause", () => { $("frame-play").textContent = "Play"; });
  video.addEventListener("ended", () => {
    if (isHeld) return;
    const next = isPlayingThrough && reel[reel.indexOf(now) + 1];
    if (next) guarded(() => show(next, true))();
    else if (!isPlayingThrough) video.play().catch(() => {});
  });
  video.addEventListener("loadedmetadata", fit);
  addEventListener("resize", fit);

  // The mark: a line over the frame, in shares of its width and height.

  function fit() {
    if (!video.videoWidth) return;
    video.parentElement.style.setProperty("--ratio", video.videoWidth / video.videoHeight);
    const scale = Math.min(video.clientWidth / video.videoWidth, video.clientHeight / video.videoHeight);
    Object.assign(canvas, { width: video.videoWidth * scale, height: video.videoHeight * scale });
    draw(mark);
  }
  function draw(points) {
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    Object.assign(pen, { strokeStyle: "#e0242f", lineWidth: 4, lineCap: "round", lineJoin: "round" });
    pen.beginPath();
    points.forEach(([x, y], place) => pen[place ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height));
    pen.stroke();
  }
  function undraw() { mark = []; $("undraw").hidden = true; draw(mark); }
  const share = (event) => {
    const box = canvas.getBoundingClientRect(), clamp = (value) => Math.round(Math.max(0, Math.min(value, 1)) * 1e4) / 1e4;
    return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    video.pause();
    mark = [share(event)];
    isDrawing = true;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!isDrawing || mark.length >= 2000) return;
    mark.push(share(event));
    draw(mark);
  });
  canvas.addEventListener("pointercancel", undraw);
  canvas.addEventListener("pointerup", () => { isDrawing = false; $("undraw").hidden = mark.length < 2; if (mark.length < 2) undraw(); });

  // What is said

  async function send(event) {
    event.preventDefault();
    await post(`v1/videos/${now.id}/comments`, { text: $("frame-comment").value, frame: frameNow(), mark });
    $("frame-comment").value = "";
    undraw();
    await showComments();
  }
  const decide = (verdict) => guarded(async () => {
    await post(`v1/videos/${now.id}/verdict`, { verdict });
    $("verdict").textContent = WORDS[verdict];
    const id = now.id;
    await load();
    now = reel.find((each) => each.id === id) ?? now;
  });

  $("frame-form").addEventListener("submit", guarded(send));
  $("approve").addEventListener("click", decide("approved"));
  $("changes").addEventListener("click", decide("changes"));
  $("undraw").addEventListener("click", undraw);
  $("frame-play").addEventListener("click", toggle);
  $("frame-back").addEventListener("click", () => step(-1));
  $("frame-on").addEventListener("click", () => step(1));
  $("frame-place").addEventListener("input", () => { undraw(); goTo(Number($("frame-place").value)); });
  $("earlier").addEventListener("click", () => {
    shownEarlier = !shownEarlier;
    video.src = source(shownEarlier ? now.earlier[0] : now.id);
    $("earlier").textContent = shownEarlier ? "Show the new version" : "Show the earlier version";
    video.play().catch(() => {});
  });
  $("play-through").addEventListener("click", guarded(() => reel[0] && show(reel[0], true)));
  $("viewer").addEventListener("keydown", (event) => {
    if (event.target.matches("textarea, input")) return;
    const act = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), " ": toggle, k: toggle }[event.key];
    if (!act || (event.key === " " && event.target.matches("button"))) return;
    event.preventDefault();
    act();
  });
  guarded(load)();
})();
