"use strict";

// The viewer: two pictures over each other, the left one cut off at a border that can be moved.
(() => {
  const scenes = JSON.parse(document.getElementById("scenes").textContent);
  if (!scenes.length) return;
  const $ = (id) => document.getElementById(id);
  const [box, stage, handle] = [$("box"), $("stage"), $("handle")];
  const chosen = { scene: $("scene"), left: $("left"), right: $("right") };
  const zooms = [...document.querySelectorAll("[data-zoom]")];
  let zoom = "fit";
  let position = 50;
  let frame = 0;

  const scene = () => scenes[chosen.scene.value];
  const picture = (side) => scene().shown[chosen[side].value];
  const options = (select, names, value) => {
    select.replaceChildren(...names.map((name, number) => new Option(name, number)));
    select.value = value;
  };

  function move(percent) {
    position = Math.min(100, Math.max(0, percent));
    handle.style.left = `${position}%`;
    $("left-picture").style.clipPath = `inset(0 ${100 - position}% 0 0)`;
    const shown = Math.round(position);
    handle.setAttribute("aria-valuenow", shown);
    handle.setAttribute("aria-valuetext",
      `${shown} % ${picture("left").codec}, ${100 - shown} % ${picture("right").codec}`);
  }

  function scale() {
    const { width, height } = scene();
    const fits = zoom === "fit";
    stage.classList.toggle("zoomed", !fits);
    stage.style.width = fits ? "100%" : `${width * zoom}px`;
    // A small screen shows all of an upright picture, too.
    stage.style.maxWidth = fits ? `min(${2 * width}px, calc(80vh * ${width / height}))` : "none";
    stage.style.aspectRatio = `${width} / ${height}`;
    for (const button of zooms) button.setAttribute("aria-pressed", button.dataset.zoom === zoom);
    box.scrollLeft = (stage.offsetWidth * position) / 100 - box.clientWidth / 2;
  }

  function show() {
    $("credit").textContent = scene().credit;
    for (const side of ["left", "right"]) {
      const own = picture(side);
      const image = $(`${side}-picture`);
      image.src = own.picture;
      image.alt = `${own.codec}, frame ${scene().frame} of ${scene().sequence}`;
      $(`${side}-facts`).textContent = `${own.codec} · ${own.facts}`;
    }
    move(position);
  }

  function open() {
    const names = scene().shown.map((own) => own.codec);
    // Codec against codec where there are three pictures; the source is one choice away.
    options(chosen.left, names, Math.max(0, names.length - 2));
    options(chosen.right, names, names.length - 1);
    scale();
    show();
  }

  const at = (event) => {
    const area = stage.getBoundingClientRect();
    return (100 * (event.clientX - area.left)) / area.width;
  };
  let held = null;
  stage.addEventListener("pointerdown", (event) => {
    const grabbed = handle.contains(event.target);
    // In a zoomed picture a drag scrolls, and only the handle moves the border.
    if (event.button !== 0 || (zoom !== "fit" && !grabbed)) return;
    held = event.pointerId;
    handle.setPointerCapture(held);
    handle.focus({ preventScroll: true });
    if (!grabbed) move(at(event));
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerId !== held) return;
    const target = at(event);
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => move(target));
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    stage.addEventListener(end, (event) => {
      if (event.pointerId === held) held = null;
    });
  }
  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
  handle.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    move(position + step * (event.shiftKey && Math.abs(step) === 1 ? 10 : 1));
    event.preventDefault();
  });

  for (const button of zooms) {
    button.addEventListener("click", () => {
      zoom = button.dataset.zoom;
      scale();
    });
  }
  chosen.scene.addEventListener("change", open);
  chosen.left.addEventListener("change", show);
  chosen.right.addEventListener("change", show);
  options(chosen.scene, scenes.map((own) => own.sequence), 0);
  open();
})();

// The table of all points: a click on a title sorts, a second one turns the order.
(() => {
  const body = document.getElementById("rows");
  const titles = [...body.closest("table").querySelectorAll("th")];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : cell.dataset.value;
  };
  titles.forEach((title, column) => {
    title.querySelector("button").addEventListener("click", () => {
      const sign = title.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of titles) other.setAttribute("aria-sort", "none");
      title.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const compare = new Intl.Collator("en", { numeric: true }).compare;
      const order = (one, two) => {
        const [a, b] = [value(one, column), value(two, column)];
        // What was not measured comes last in both orders.
        if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1);
        const numbers = one.cells[column].dataset.value !== undefined;
        return sign * (numbers ? a - b : compare(a, b));
      };
      body.append(...[...body.rows].sort(order));
    });
  });
})();
