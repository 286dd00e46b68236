// The part of a picture that a crop keeps: a frame over the first and the last frame, moved by pointer or arrow keys.
(() => {
  const STEP = 0.05;
  const clamp = value => Math.min(Math.max(value, 0), 1);
  const arrows = {ArrowLeft: -STEP, ArrowUp: -STEP, ArrowRight: STEP, ArrowDown: STEP, Home: -1, End: 1};

  // Where the picture itself is drawn within its box, which may be of another shape.
  const drawn = (image, box) => {
    const outer = box.getBoundingClientRect(), inner = image.getBoundingClientRect();
    const scale = Math.min(inner.width / image.naturalWidth, inner.height / image.naturalHeight, 1);
    const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
    return {
      left: inner.left - outer.left + (inner.width - width) / 2,
      top: inner.top - outer.top + (inner.height - height) / 2,
      width, height,
    };
  };

  class Frame {
    constructor(box, image, note, save) {
      this.box = box;
      this.image = image;
      this.save = save;
      this.layer = document.createElement("div");
      this.layer.className = "crop-layer";
      this.frame = this.layer.appendChild(document.createElement("div"));
      this.frame.className = "crop-frame";
      const is = {role: "slider", tabindex: 0, "aria-label": "Part of the picture that is kept",
        "aria-valuemin": 0, "aria-valuemax": 100};
      for (const [name, value] of Object.entries(is)) this.frame.setAttribute(name, value);
      this.frame.addEventListener("pointerdown", event => this.drag(event));
      this.frame.addEventListener("keydown", event => this.key(event));
      box.append(this.layer);
      this.resized = new ResizeObserver(() => this.draw());
      this.resized.observe(box);
      image.addEventListener("load", () => this.draw());
      this.set(note);
    }
    set(note) {
      this.ratio = Number(note.dataset.ratio);
      if (!this.dragged) this.position = Number(note.dataset.position);
      this.draw();
    }
    draw() {
      if (!this.image.naturalWidth) return;
      const place = drawn(this.image, this.box);
      const isTall = place.width / place.height < this.ratio;
      const width = isTall ? place.width : place.height * this.ratio;
      const height = isTall ? place.width / this.ratio : place.height;
      this.room = {x: place.width - width, y: place.height - height};
      this.layer.hidden = Math.max(this.room.x, this.room.y) < 1;  // nothing of it is cut off as it is drawn
      const pixels = values => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, `${value}px`]));
      Object.assign(this.layer.style, pixels(place));
      Object.assign(this.frame.style,
        pixels({width, height, left: this.room.x * this.position, top: this.room.y * this.position}));
      const percent = Math.round(100 * this.position);
      this.frame.setAttribute("aria-orientation", isTall ? "vertical" : "horizontal");
      this.frame.setAttribute("aria-valuenow", percent);
      this.frame.setAttribute("aria-valuetext", `${percent} % from the ${isTall ? "top" : "left"}`);
    }
    move(position) {
      this.position = Math.round(100 * clamp(position)) / 100;
      this.draw();
    }
    key(event) {
      const step = arrows[event.key];
      if (step === undefined) return;
      event.preventDefault();
      this.move(this.position + step);
      this.save(this.position);
    }
    drag(start) {
      start.preventDefault();
      this.frame.focus();
      this.frame.setPointerCapture(start.pointerId);
      this.dragged = true;
      const from = this.position;
      const follow = event => {
        const moved = this.room.x > this.room.y
          ? (event.clientX - start.clientX) / this.room.x : (event.clientY - start.clientY) / this.room.y;
        this.move(from + moved);
      };
      this.frame.addEventListener("pointermove", follow);
      const end = () => {
        this.frame.removeEventListener("pointermove", follow);
        this.dragged = false;
        this.save(this.position);
      };
      this.frame.addEventListener("lostpointercapture", end, {once: true});
    }
    remove() {
      this.resized.disconnect();
      this.layer.remove();
    }
  }

  const frames = new Map();  // by the id of the box that a frame is drawn in: Gradio may replace the box itself
  const place = (box, note, save) => {
    const image = note?.dataset.fit === "crop" ? box.querySelector("img") : null;
    const known = frames.get(box.id);
    if (known && known.box === box && known.image === image && known.layer.isConnected) return known.set(note);
    known?.remove();
    frames.delete(box.id);
    if (image) frames.set(box.id, new Frame(box, image, note, save));
  };

  Object.assign(window.wanStudio, {
    // `slot` holds the note about the pictures of a form; the crop is saved in that form's hidden box.
    watchFraming(slot, boxes, saved) {
      const save = position => {
        const box = document.querySelector(`#${saved} :is(textarea, input)`);
        box.value = String(position);
        box.dispatchEvent(new Event("input", {bubbles: true}));
      };
      const draw = () => boxes.map(id => document.getElementById(id)).filter(Boolean)
        .forEach(box => place(box, slot.querySelector("[data-ratio]"), save));
      const note = new MutationObserver(draw);
      note.observe(slot, {childList: true, subtree: true, attributes: true});
      const pictures = new MutationObserver(records => {
        if (records.some(record => boxes.some(id => record.target.closest(`#${id}`)))) draw();
      });
      pictures.observe(slot.closest(".form-tab"), {childList: true, subtree: true});
      draw();
    },
  });
})();
