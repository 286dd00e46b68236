// The LoRA rows of a form. What is typed, dragged, moved, turned off or removed is written into the text of the field at
// once, so that a click on Generate right after it counts it. No network.
(() => {
  const ROW = ".lora-row", LIST = ".lora-rows", KEYS = ["weight", "low", "over"];

  const box = part => part.closest(".form-tab").querySelector(".lora-text :is(textarea, input)");
  const field = (row, key) => row.querySelector(`[data-key=${key}]`);
  const values = list => [...list.querySelectorAll(ROW)].map(row => ({
    name: row.dataset.name,
    ...Object.fromEntries(KEYS.map(key => [key, field(row, key).value])),
    on: field(row, "on").checked,
  }));
  const write = (part, rows) => {
    const text = box(part);
    text.value = JSON.stringify(rows);
    text.dispatchEvent(new Event("input", {bubbles: true}));
  };
  const save = list => write(list, values(list));

  // The curve over the steps, in a box of 64 x 32 with the factor 1 as a line across; nothing for what is no curve.
  const WIDTH = 64, HEIGHT = 32, MARGIN = 4;
  const curve = text => {
    const points = text.split(",").map(part => part.split(":").map(Number));
    const isCurve = points.every(([at, factor], place) => at >= 0 && at <= 1 && Number.isFinite(factor) &&
      (!place || at >= points[place - 1][0]));
    return text.trim() && isCurve ? [[0, points[0][1]], ...points, [1, points.at(-1)[1]]] : [];
  };
  const draw = row => {
    const points = curve(field(row, "over").value);
    const factors = [0, 1, ...points.map(([, factor]) => factor)];
    const low = Math.min(...factors), high = Math.max(...factors);
    const y = factor => MARGIN + (HEIGHT - 2 * MARGIN) * (high - factor) / (high - low);
    const picture = row.querySelector(".curve");
    picture.querySelector(".one").setAttribute("d", `M0 ${y(1)}H${WIDTH}`);
    picture.querySelector("polyline")
      .setAttribute("points", points.map(([at, factor]) => `${WIDTH * at},${y(factor)}`).join(" "));
  };

  document.addEventListener("input", event => {
    const row = event.target.dataset?.key && event.target.closest(ROW);
    if (!row) return;
    if (event.target.dataset.key === "over") draw(row);
    row.classList.toggle("off", !field(row, "on").checked);
    save(row.closest(LIST));
  });

  const MOVES = {
    up: row => row.previousElementSibling?.before(row),
    down: row => row.nextElementSibling?.after(row),
  };
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-move]"), row = button?.closest(ROW);
    if (!row) return;
    const list = row.closest(LIST);
    if (button.dataset.move !== "remove") {
      MOVES[button.dataset.move](row);
      button.focus();
      return save(list);
    }
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (next?.querySelector("[data-move=remove]") ?? list.closest(".form-tab").querySelector(".lora-search input, .lora-search textarea"))?.focus();
    save(list);
  });

  document.addEventListener("click", event => {
    const button = event.target.closest("[data-add]");
    if (!button || button.disabled) return;
    const rows = JSON.parse(box(button).value || "[]");
    const there = rows.filter(row => row.name === button.dataset.add);  // then it is turned on
    for (const row of there) row.on = true;
    write(button, there.length ? rows : [...rows, {name: button.dataset.add, weight: "1", low: "", over: "", on: true}]);
  });

  let dragged = null;
  document.addEventListener("dragstart", event => {
    if (!event.target.closest?.(`${ROW} .lora-grip`)) return;
    dragged = event.target.closest(ROW);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged.dataset.name);
    event.dataTransfer.setDragImage(dragged, 20, 20);
    requestAnimationFrame(() => dragged?.classList.add("dragged"));
  });
  document.addEventListener("dragover", event => {
    const row = dragged && event.target.closest?.(ROW);
    if (!row || row.parentElement !== dragged.parentElement) return;
    event.preventDefault();
    const box = row.getBoundingClientRect();
    if (row !== dragged) row[event.clientY > box.top + box.height / 2 ? "after" : "before"](dragged);
  });
  document.addEventListener("dragend", () => {
    if (!dragged) return;
    dragged.classList.remove("dragged");
    save(dragged.closest(LIST));
    dragged = null;
  });

  Object.assign(window.wanStudio, {
    drawCurves: part => part.querySelectorAll(ROW).forEach(draw),
    // What the rows on the page show of the files, `none` without rows; empty if they are not those of the field's text.
    lorasDrawn(mode, text, none) {
      const list = document.querySelector(`#${mode}-lora-rows ${LIST}`);
      const rows = list ? values(list) : [];
      if (JSON.stringify(rows) !== JSON.stringify(JSON.parse(text || "[]"))) return "";
      return list ? list.dataset.drawn : none;
    },
  });
})();
