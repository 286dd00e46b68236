// The page of guests. It asks the HTTP API, and puts what it gets on the page as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const mayMake = document.body.dataset.mayMake === "yes";
const POLL_MS = 1500, IDLE_MS = 8000, LOST_MS = 60000;
const TURNED_AWAY = "wan-studio-turned-away";
const NO_COOKIE = "Your browser keeps no cookie for this page; open it in a tab of its own, or allow its cookies.";
const picked = new Set();
let choices = { data: [], presets: [] }, videos = [], open = null, forecastTimer = 0;

async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  if (answer.status === 401) return turnedAway();
  if (answer.ok) {
    sessionStorage.removeItem(TURNED_AWAY);
    return answer.status === 204 ? null : answer.json();
  }
  const text = await answer.text();
  let message = text;
  try { message = JSON.parse(text).error.message; } catch { /* a plain sentence */ }
  throw new Error(message.slice(0, 400));
}

// The link was revoked, and the server says so to whoever opens the page. Or this browser keeps no cookie: then a
// page that is loaded again is turned away again.
function turnedAway() {
  if (sessionStorage.getItem(TURNED_AWAY)) throw new Error(NO_COOKIE);
  sessionStorage.setItem(TURNED_AWAY, "yes");
  location.reload();
  return new Promise(() => {});
}

const post = (path, data) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) });

function make(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

function toast(message) {
  $("toast").textContent = message;
  $("toast").classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $("toast").classList.remove("shown"), 4000);
}

const guarded = (work) => async (event) => {
  try { await work(event); } catch (error) { toast(error.message); }
};

// The form

async function fillForm() {
  choices = await ask("v1/models");
  $("model").replaceChildren(...choices.data.map((model) => make("option", { value: model.id, textContent: model.title })));
  for (const [id, kind, none] of [["preset", "look", "None"], ["quality", "quality", "Standard"]]) {
    $(id).replaceChildren(
      make("option", { value: "", textContent: none }),
      ...choices.presets.filter((preset) => preset.kind === kind)
        .map((preset) => make("option", { value: preset.id, textContent: preset.title })));
  }
  showModel();
}

function showModel() {
  const model = choices.data.find((each) => each.id === $("model").value);
  if (!model) return;
  $("size").replaceChildren(...model.sizes.map((size) => make("option", { value: size, textContent: size.replace("x", " × ") })));
  Object.assign($("seconds"), { min: model.min_seconds, max: model.max_seconds, value: model.seconds });
  $("steps").placeholder = model.steps;
  $("picture").required = !model.modes.includes("text-to-video");
  $("picture-row").hidden = !model.modes.includes("image-to-video");
  showLength();
  askForecast();
}

const showLength = () => { $("length").textContent = `${Number($("seconds").value)} s`; };

function settings() {
  const names = ["prompt", "model", "preset", "quality", "size", "seconds", "negative_prompt", "seed", "steps"];
  return Object.fromEntries(names.map((name) => [name, $(name).value.trim()]).filter(([, value]) => value));
}

function askForecast() {
  clearTimeout(forecastTimer);
  forecastTimer = setTimeout(async () => {
    try {
      $("estimate").textContent = (await post("v1/forecast", { ...settings(), prompt: "any" })).text;
      showProblem("");
    } catch (error) { $("estimate").textContent = ""; showProblem(error.message); }
  }, 250);
}

function showProblem(message) {
  $("problem").textContent = message;
  $("problem").hidden = !message;
}

async function generate(event) {
  event.preventDefault();
  $("generate").disabled = true;
  try {
    const body = new FormData();
    for (const [name, value] of Object.entries(settings())) body.append(name, value);
    if ($("picture").files[0] && !$("picture-row").hidden) body.append("input_reference", $("picture").files[0]);
    await ask("v1/videos", { method: "POST", body });
    showProblem("");
    await follow();
  } catch (error) { showProblem(error.message); }
  $("generate").disabled = false;
}

// The clips

const content = (video, variant = "") => `v1/videos/${video.id}/content${variant && `?variant=${variant}`}`;
const day = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
const facts = (video) => `${video.size.replace("x", " × ")}, ${Number(video.seconds).toFixed(1)} s`;
const isUnfinished = (video) => video.status === "queued" || video.status === "in_progress";

async function follow() {
  clearTimeout(follow.timer);
  try {
    videos = (await ask("v1/videos?limit=100", { signal: AbortSignal.timeout?.(LOST_MS) })).data;
    showClips();
  } finally { follow.timer = setTimeout(follow, videos.some(isUnfinished) ? POLL_MS : IDLE_MS); }
}

function showClips() {
  const list = $("clips"), known = new Map([...list.children].map((item) => [item.dataset.id, item]));
  const items = videos.map((video) => {
    const state = JSON.stringify([video.status, video.progress, video.queue_position, video.prompt]);
    const old = known.get(video.id);
    return old && old.dataset.state === state ? old : card(video, state);
  });
  if (items.length !== list.children.length || items.some((item, place) => item !== list.children[place]))
    list.replaceChildren(...items);
  $("empty").hidden = videos.length > 0;
  for (const id of picked) if (!videos.some((video) => video.id === id)) picked.delete(id);
  $("compare").hidden = picked.size !== 2;
}

function card(video, state) {
  const item = make("li", { className: `clip ${video.status}` });
  item.dataset.id = video.id;
  item.dataset.state = state;
  item.append(picture(video));
  if (video.error) item.append(make("p", { textContent: video.error.message }));
  else if (video.prompt) item.append(make("p", { textContent: video.prompt, title: video.prompt }));
  item.append(make("div", { className: "foot" }, make("span", { textContent: facts(video) }), action(video)));
  return item;
}

function picture(video) {
  if (video.status !== "completed") {
    const box = make("div", { className: "picture" });
    if (video.status === "failed") box.append("Not made");
    else if (video.status === "queued") box.append(video.queue_position ? `Waiting, place ${video.queue_position}` : "Waiting");
    else box.append(make("progress", { max: 100, value: video.progress, ariaLabel: `${video.progress} %` }));
    return box;
  }
  const poster = make("img", { src: content(video, "thumbnail"), alt: "", loading: "lazy" });
  const button = make("button", { className: "picture", type: "button", ariaLabel: `Watch: ${video.prompt || facts(video)}` }, poster);
  button.addEventListener("click", guarded(() => show(video)));
  button.addEventListener("pointerenter", () => {
    const player = make("video", { src: content(video), muted: true, loop: true, autoplay: true, playsInline: true });
    player.addEventListener("playing", () => { if (button.matches(":hover")) button.replaceChildren(player); }, { once: true });
  });
  button.addEventListener("pointerleave", () => button.replaceChildren(poster));
  return button;
}

function action(video) {
  if (isUnfinished(video)) {
    const cancel = make("button", { type: "button", textContent: "Cancel" });
    cancel.addEventListener("click", guarded(async () => { await ask(`v1/videos/${video.id}`, { method: "DELETE" }); await follow(); }));
    return cancel;
  }
  if (video.status !== "completed") return make("span");
  const box = make("input", { type: "checkbox", checked: picked.has(video.id) });
  box.addEventListener("change", () => {
    if (box.checked) picked.add(video.id); else picked.delete(video.id);
    $("compare").hidden = picked.size !== 2;
  });
  return make("label", {}, box, "Compare");
}

// One clip

async function show(video) {
  open = video;
  $("sheet-title").textContent = video.prompt || "Clip";
  $("facts").textContent = `${facts(video)}, ${day(video.created_at)}`;
  $("player").src = content(video);
  $("download").href = content(video);
  $("again").hidden = !(mayMake && video.prompt);
  $("bin").hidden = !(mayMake && video.prompt);
  $("comments").replaceChildren();
  $("sheet").showModal();
  $("player").play().catch(() => { /* the browser wants a click first */ });
  await showComments();
}

async function showComments() {
  const { data } = await ask(`v1/videos/${open.id}/comments`);
  $("comments").replaceChildren(...data.map((comment) => make("li", {},
    make("time", { textContent: `${comment.author}, ${day(comment.created_at)}` }), comment.text)));
}

async function sendComment(event) {
  event.preventDefault();
  await post(`v1/videos/${open.id}/comments`, { text: $("comment").value });
  $("comment").value = "";
  await showComments();
}

async function binOpen() {
  await ask(`v1/videos/${open.id}`, { method: "DELETE" });
  $("sheet").close();
  toast("It is in the bin; the owner can bring it back.");
  await follow();
}

// Two clips

function showPair() {
  const [first, second] = videos.filter((video) => picked.has(video.id));
  $("one").src = content(first);
  $("two").src = content(second);
  $("pair").showModal();
  playPair();
}

function playPair() {
  const both = [$("one"), $("two")], pause = !$("one").paused;
  both[1].currentTime = both[0].currentTime;
  both.forEach((player) => (pause ? player.pause() : player.play().catch(() => { /* not loaded yet */ })));
  $("play").textContent = pause ? "Play" : "Pause";
}

function movePair() {
  for (const player of [$("one"), $("two")]) player.currentTime = $("place").value * (player.duration || 0);
}

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.querySelectorAll("video").forEach((player) => player.pause()));
}
$("compare").addEventListener("click", showPair);
$("play").addEventListener("click", playPair);
$("place").addEventListener("input", movePair);
$("one").addEventListener("timeupdate", () => { if ($("one").duration) $("place").value = $("one").currentTime / $("one").duration; });
$("comment-form").addEventListener("submit", guarded(sendComment));
$("bin").addEventListener("click", guarded(binOpen));
$("again").addEventListener("click", () => { $("prompt").value = open.prompt; $("sheet").close(); $("prompt").focus(); });
if (mayMake) {
  $("make").addEventListener("submit", generate);
  $("model").addEventListener("change", showModel);
  $("seconds").addEventListener("input", showLength);
  for (const id of ["preset", "quality", "size", "seconds", "steps"]) $(id).addEventListener("change", askForecast);
  $("picture").addEventListener("change", () => {
    const [file] = $("picture").files;
    $("picture-shown").hidden = !file;
    if (file) $("picture-shown").src = URL.createObjectURL(file);
  });
  guarded(fillForm)();
}
guarded(follow)();
