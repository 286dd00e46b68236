// Plays a cut as it is, without rendering it: each clip is a <video> in a layer of its own, and the next one waits at its
// first frame. Dissolves are opacities and volumes of layers; titles are the pictures that the renderer draws.
window.wanCut = (() => {
  const MOST_LAYERS = 6;
  let cut = null, frame = 0, speed = 0, leader = -1, ticked = 0, layers = [], isMuted = false;

  const viewer = () => document.querySelector("[data-cut-viewer]");
  const screen = () => viewer()?.querySelector(".cut-screen");
  const length = piece => piece.end - piece.first;
  const endOf = piece => piece.start + length(piece);
  const leadOf = place => cut.pieces.findLastIndex(piece => piece.start <= place);
  const activeAt = place => cut.pieces.flatMap((piece, number) => piece.start <= place && place < endOf(piece) ? [number] : []);
  const share = (number, place) => {
    const into = place - cut.pieces[number].start, {dissolve} = cut.pieces[number];
    return into < dissolve ? (into + 1) / (dissolve + 1) : 1;
  };
  // As the renderer fades: the earlier clip out while the later one fades in.
  const volume = (number, place) => {
    const next = cut.pieces[number + 1];
    return share(number, place) * (next && place >= next.start ? 1 - share(number + 1, place) : 1);
  };
  const fade = (title, place) => place < title.first || place >= title.end ? 0 :
    Math.min(1, (place - title.first + 1) / (cut.fade + 1), (title.end - place) / (cut.fade + 1));

  // Layers. One of the same file is used again, for it has it loaded.
  const layerOf = (number, needed) => {
    const piece = cut.pieces[number];
    const isFree = each => each.number === -1 || !needed.includes(each.number);
    let layer = layers.find(each => each.number === number) ?? layers.find(each => each.url === piece.url && isFree(each));
    if (!layer) {
      const node = document.createElement("div"), video = document.createElement("video");
      node.className = "cut-layer";
      Object.assign(video, {src: piece.url, muted: true, playsInline: true, preload: "auto", tabIndex: -1});
      video.setAttribute("aria-hidden", "true");
      video.addEventListener("seeked", () => { if (!speed) draw(); });
      node.append(video);
      screen().append(node);
      layer = {url: piece.url, node, video, number: -1, title: null};
      layers.push(layer);
    }
    if (layer.number !== number) entitle(layer, piece.title);
    layer.number = number;
    layer.node.style.zIndex = number;
    return layer;
  };
  const entitle = (layer, title) => {
    layer.title?.remove();
    layer.title = null;
    if (!title) return;
    layer.title = document.createElement("img");
    layer.title.src = title.picture;
    layer.title.alt = "";
    const [left, top, width, height] = title.box.map(share => `${100 * share}%`);
    Object.assign(layer.title.style, {left, top, width, height});
    layer.node.append(layer.title);
  };
  const keepOnly = needed => {
    for (const layer of layers) if (!needed.includes(layer.number)) { layer.node.style.opacity = 0; layer.video.pause(); }
    while (layers.length > MOST_LAYERS) {
      const place = layers.findIndex(each => !needed.includes(each.number));
      if (place < 0) break;
      const [gone] = layers.splice(place, 1);
      gone.video.removeAttribute("src");
      gone.video.load();
      gone.node.remove();
    }
  };

  // A frame's middle, for at its beginning a browser may show the one before.
  const timeOf = (piece, place) => (piece.first + Math.min(place - piece.start, length(piece) - 1) + .5) / piece.rate;
  const placeOf = (piece, video) => piece.start + Math.floor(video.currentTime * piece.rate + .02) - piece.first;
  const seek = (layer, time) => {
    if (Math.abs(layer.video.currentTime - time) > .3 / cut.pieces[layer.number].rate) layer.video.currentTime = time;
  };

  const draw = () => {
    const place = Math.floor(frame), active = activeAt(place);
    for (const number of active) {
      const layer = layerOf(number, active), {title, start} = cut.pieces[number];
      layer.node.style.opacity = share(number, place);
      layer.video.muted = isMuted || !cut.pieces[number].heard;
      layer.video.volume = volume(number, place);
      if (title) layer.title.style.opacity = fade(title, place - start);
    }
    return active;
  };
  const tell = () => {
    const place = Math.floor(frame), rate = Math.max(1, Math.round(cut.rate)), two = number => String(number).padStart(2, "0");
    const seconds = Math.floor(place / rate);
    viewer().querySelector(".cut-time").textContent =
      [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60, place % rate].map(two).join(":");
    viewer().querySelector(".cut-length").textContent = `frame ${place} of ${cut.frames}`;
    document.dispatchEvent(new CustomEvent("cut-frame", {detail: place}));
  };

  // Standing still: seek every layer that is seen, and let the next clip load.
  const show = place => {
    frame = Math.max(0, Math.min(place, cut.frames - 1));
    const active = activeAt(Math.floor(frame)), next = active.at(-1) + 1;
    const needed = next < cut.pieces.length ? [...active, next] : active;
    for (const number of needed) {
      const layer = layerOf(number, needed);
      if (!speed) layer.video.pause();
      seek(layer, timeOf(cut.pieces[number], Math.max(Math.floor(frame), cut.pieces[number].start)));
    }
    keepOnly(active);
    draw();
    tell();
  };

  const start = (layer, piece) => {
    layer.video.playbackRate = Math.min(16, speed * cut.rate / piece.rate);
    if (piece.url && layer.video.paused && !layer.video.ended) layer.video.play().catch(() => {});
  };
  // A clip that is gone has no video: its frames pass by the clock.
  const byClock = now => frame + speed * cut.rate * (now - ticked) / 1000;
  const forward = now => {
    const piece = cut.pieces[leader], layer = layerOf(leader, [leader]), next = leader + 1;
    const place = !piece.url ? byClock(now) : layer.video.ended ? endOf(piece) : placeOf(piece, layer.video);
    ticked = now;
    start(layer, piece);
    frame = Math.max(frame, Math.min(place, endOf(piece) - (piece.url ? 1 : .01)));
    const follower = cut.pieces[next];
    if (follower) {
      const waiting = layerOf(next, [leader, next]);
      if (place >= follower.start) start(waiting, follower);
      else seek(waiting, timeOf(follower, follower.start));
      if (place >= endOf(piece) && (!follower.url || waiting.video.readyState > 1)) {
        leader = next;
        frame = Math.max(endOf(piece), placeOf(follower, waiting.video));
        start(waiting, follower);
      }
    } else if (place >= endOf(piece)) return stop();
    keepOnly(activeAt(Math.floor(frame)).concat(leader, leader + 1));
    draw();
    tell();
  };
  const backward = now => {
    const isSeeking = layers.some(layer => layer.video.seeking && activeAt(Math.floor(frame)).includes(layer.number));
    if (isSeeking) return;
    const to = frame + speed * cut.rate * (now - ticked) / 1000;
    ticked = now;
    if (to <= 0) { show(0); stop(); } else show(to);
  };
  const tick = now => {
    if (!speed || !cut || !viewer()?.offsetParent) return stop();
    if (speed > 0) forward(now); else backward(now);
    if (speed) requestAnimationFrame(tick);
  };

  const pressed = () => {
    const button = viewer()?.querySelector("[data-cut-play=toggle]");
    if (!button) return;
    const label = speed ? "Stop (space)" : "Play (space)";
    button.setAttribute("aria-pressed", String(speed !== 0));
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  const stop = () => {
    const was = speed;
    speed = 0;
    for (const layer of layers) layer.video.pause();
    if (was && cut) show(Math.floor(frame));
    pressed();
  };
  const play = wanted => {
    if (!cut) return;
    const was = speed;
    if (wanted > 0 && frame >= cut.frames - 1) show(0);
    speed = wanted;
    leader = leadOf(Math.floor(frame));
    ticked = performance.now();
    for (const layer of layers) layer.video.pause();
    pressed();
    if (!was) requestAnimationFrame(tick);
  };
  const mute = () => {
    isMuted = !isMuted;
    const button = viewer().querySelector("[data-cut-play=mute]");
    button.setAttribute("aria-pressed", String(isMuted));
    for (const layer of layers) layer.video.muted = true;
    if (cut) draw();
  };
  const faster = way => play(Math.sign(speed) === way ? Math.max(-8, Math.min(8, speed * 2)) : way);
  const step = by => { if (cut) { stop(); show(Math.floor(frame) + by); } };

  const load = text => {
    stop();
    cut = text ? JSON.parse(text) : null;
    if (!screen()) return;
    for (const layer of layers) layer.number = -1;
    screen().classList.toggle("empty", !cut);
    if (cut) { screen().style.setProperty("--ratio", cut.size[0] / cut.size[1]); show(frame); }
    else { keepOnly([]); frame = 0; }
  };

  return {
    load, step, faster, stop, mute, show: place => { if (cut) { stop(); show(place); } },
    toggle: () => speed ? stop() : play(1),
    toEnd: () => { if (cut) { stop(); show(cut.frames - 1); } },
    get cut() { return cut; },
    get frame() { return Math.floor(frame); },
    get isPlaying() { return speed !== 0; },
    // The clip's own frame under the playhead, in a piece.
    inClip: number => { const piece = cut.pieces[number];
      return piece.first + Math.max(0, Math.min(Math.floor(frame) - piece.start, length(piece) - 1)); },
  };
})();
