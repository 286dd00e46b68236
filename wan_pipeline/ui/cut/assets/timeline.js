// The timeline of the Cut room: its playhead, the keyboard, and the pictures of its strip.
(() => {
  const timeline = () => document.querySelector("#cut-timeline .cut-timeline");
  const room = () => document.querySelector("[data-cut-viewer]")?.closest("[role=tabpanel]");
  const isOpen = () => document.querySelector("[data-cut-viewer]")?.offsetParent;
  const pieces = () => [...document.querySelectorAll("#cut-timeline .cut-piece")];
  const button = (act, where = "#cut-inspector") => document.querySelector(`${where} [data-act="${act}"]:not(:disabled)`);

  // What is drawn anew by the server is played anew.
  let shown = null;
  const watch = () => {
    const text = timeline()?.dataset.cut;
    if (text === undefined || text === shown) return;
    shown = text;
    wanCut.load(text);
    drawStrips();
  };
  new MutationObserver(watch).observe(document.documentElement, {childList: true, subtree: true});

  const placePlayhead = () => {
    const head = timeline()?.querySelector(".cut-playhead"), cut = wanCut.cut;
    if (!head || !cut) return;
    const number = cut.pieces.findLastIndex(piece => piece.start <= wanCut.frame), piece = cut.pieces[number];
    const node = pieces()[number];
    if (!node) return;
    const x = node.offsetLeft + node.offsetWidth * (wanCut.frame - piece.start) / (piece.end - piece.first);
    head.style.transform = `translateX(${x}px)`;
    const box = timeline();
    if (wanCut.isPlaying && (x < box.scrollLeft || x > box.scrollLeft + box.clientWidth - 40)) box.scrollLeft = x - 40;
  };
  document.addEventListener("cut-frame", placePlayhead);

  // A click goes to the frame under the pointer; a button that needs the playhead takes its frame along.
  document.addEventListener("click", event => {
    const face = event.target.closest?.(".cut-face"), needy = event.target.closest?.("[data-at-playhead]");
    if (face && event.detail && wanCut.cut) {
      const box = face.getBoundingClientRect(), piece = wanCut.cut.pieces[face.parentElement.dataset.clip];
      if (piece) wanCut.show(piece.start + Math.floor((event.clientX - box.left) / box.width * (piece.end - piece.first)));
    }
    if (needy && wanCut.cut) needy.dataset.ids = wanCut.inClip(needy.closest("[data-clip]").dataset.clip);
    const key = event.target.closest?.("[data-cut-play]")?.dataset.cutPlay;
    if (key) ({start: () => wanCut.show(0), end: wanCut.toEnd, previous: () => wanCut.step(-1), next: () => wanCut.step(1),
      reverse: () => wanCut.faster(-1), toggle: wanCut.toggle, mute: wanCut.mute})[key]();
  }, true);

  const go = by => {
    const all = pieces(), now = all.findIndex(piece => piece.classList.contains("selected"));
    const next = all[Math.max(0, Math.min(all.length - 1, now + by))];
    if (!next) return;
    const face = next.querySelector(".cut-face");
    face.focus();
    face.click();
    wanCut.show(wanCut.cut.pieces[next.dataset.clip].start);
  };
  const KEYS = {
    j: () => wanCut.faster(-1), k: () => wanCut.stop(), l: () => wanCut.faster(1), " ": () => wanCut.toggle(),
    ArrowLeft: () => wanCut.step(-1), ArrowRight: () => wanCut.step(1), Home: () => wanCut.show(0), End: () => wanCut.toEnd(),
    ArrowUp: () => go(-1), ArrowDown: () => go(1), i: () => button("first-here")?.click(), o: () => button("end-here")?.click(),
    m: () => wanCut.mute(), s: () => button("split")?.click(), Delete: () => button("remove")?.click(), Backspace: () => button("remove")?.click(),
  };
  document.addEventListener("keydown", event => {
    if (!isOpen() || document.querySelector("[role=dialog]") || event.target.matches("input, textarea, select")) return;
    if (event.target !== document.body && !room()?.contains(event.target)) return;
    const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    let act = KEYS[letter];
    if (event.ctrlKey || event.metaKey) {
      const name = letter === "z" ? (event.shiftKey ? "redo-edit" : "undo-edit") : letter === "y" ? "redo-edit" : "";
      act = name && (() => button(name, "#cut-head")?.click());
    } else if (event.altKey) {
      const name = {ArrowLeft: "move-before", ArrowRight: "move-after"}[letter];
      act = name && (() => button(name)?.click());
    } else if (letter === " " && event.target.matches("button, a, summary")) return;
    if (!act || event.target.matches("[role=tab]")) return;
    event.preventDefault();
    act();
  });

  // The strip: pictures of each clip, drawn one after the other by a video that is not seen. They are kept as URLs, for
  // a clip may stand in the cut twice, and an element only in one place.
  const drawn = new Map();
  let drawing = Promise.resolve();
  const drawStrips = () => {
    const cut = wanCut.cut, wanted = shown;
    if (!cut) return;
    pieces().forEach((node, number) => {
      drawing = drawing.then(() => shown === wanted && isOpen() && drawStrip(node.querySelector(".cut-strip"), cut.pieces[number], cut.size));
    });
  };
  const drawStrip = async (strip, piece, [width, height]) => {
    const tall = strip.clientHeight, wide = tall * width / height, count = Math.max(1, Math.ceil(strip.clientWidth / wide));
    const name = [piece.url, piece.first, piece.end, count].join("|");
    if (!drawn.has(name)) drawn.set(name, await picture(piece, count, wide, tall).catch(() => null));
    const url = drawn.get(name);
    if (url && strip.isConnected) strip.replaceChildren(Object.assign(new Image(), {src: url, alt: ""}));
  };
  const picture = async (piece, count, wide, tall) => {
    const video = Object.assign(document.createElement("video"), {muted: true, preload: "auto", src: piece.url});
    const seeked = () => new Promise((done, failed) => { video.onseeked = done; video.onerror = failed; });
    const canvas = Object.assign(document.createElement("canvas"), {width: Math.round(wide * count), height: Math.round(tall)});
    for (let number = 0; number < count; number++) {
      const done = seeked();
      video.currentTime = (piece.first + (piece.end - piece.first) * (number + .5) / count) / piece.rate;
      await done;
      canvas.getContext("2d").drawImage(video, number * wide, 0, wide, tall);
    }
    video.removeAttribute("src");
    return canvas.toDataURL("image/webp");
  };
})();
