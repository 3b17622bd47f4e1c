"use strict";

const SVG = "http://www.w3.org/2000/svg";

const element = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  Object.assign(node, attributes);
  node.append(...children);
  return node;
};

const shape = (name, attributes, text = "") => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
};

// ---- light or dark: the system decides until the button is pressed

const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
let chosen = null;
const isDark = () => chosen ?? dark.matches;
const showTheme = () => {
  document.documentElement.style.colorScheme = chosen === null ? "" : chosen ? "dark" : "light";
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  theme.textContent = isDark() ? "Light" : "Dark";
};
theme.hidden = false;
theme.addEventListener("click", () => { chosen = !isDark(); showTheme(); });
dark.addEventListener("change", showTheme);
showTheme();

// ---- printing opens all details

addEventListener("beforeprint", () => { for (const details of document.querySelectorAll("details")) details.open = true; });

// ---- what is wider than the page says so, and fades out where more follows

for (const wide of document.querySelectorAll(".scroll")) {
  const show = () => {
    const rest = wide.scrollWidth - wide.clientWidth - wide.scrollLeft;
    wide.classList.toggle("scrolls", wide.scrollWidth > wide.clientWidth + 1);
    wide.classList.toggle("more", rest > 1);
  };
  wide.addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(wide);
}

// ---- tables: a click on a heading sorts, a second click reverses; cells without a number come last

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
    const rows = [...table.tBodies[0].rows];
    const key = row => row.cells[column].dataset.key;
    const numeric = rows.some(row => key(row));
    const first = numeric && table.classList.contains("images") ? "ascending" : numeric ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? second : first;
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      if (!numeric) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", { numeric: true });
      if (!key(a) || !key(b)) return !key(a) - !key(b);
      return sign * (key(a) - key(b));
    });
    headings.forEach(other => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", order);
    table.tBodies[0].append(...rows);
  }));
}

// ---- pictures: the image, and a grey image whose pixels are labels: truth and predictions, one below the other

const decode = async (type, data) => {
  const image = new Image();
  image.src = `data:image/${type};base64,${data}`;
  await image.decode();
  return image;
};

const opened = new WeakMap();
const load = picture => {
  if (!opened.has(picture)) opened.set(picture, (async () => {
    const [image, labels] = await Promise.all([decode("webp", picture.image), decode("png", picture.labels)]);
    const canvas = element("canvas", { width: labels.width, height: labels.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(labels, 0, 0);
    const pixels = context.getImageData(0, 0, labels.width, labels.height).data;
    const parts = picture.models.length + 1, size = labels.width * labels.height / parts;
    const map = part => Uint8Array.from({ length: size }, (_, i) => pixels[4 * (part * size + i)]);
    return { image, width: labels.width, height: labels.height / parts, maps: Array.from({ length: parts }, (_, i) => map(i)) };
  })());
  return opened.get(picture);
};

const [FALSE_POSITIVE, FALSE_NEGATIVE, OTHER_CLASS] = Object.keys(COLOURS);
const wrong = (truth, predicted) => {
  if (truth === IGNORE || truth === predicted) return null;
  return truth === 0 ? FALSE_POSITIVE : predicted === 0 ? FALSE_NEGATIVE : OTHER_CLASS;
};

const draw = (canvas, { image, width, height, maps }, part, view) => {
  const sharp = devicePixelRatio, zoom = Math.max(1, Math.ceil(canvas.clientWidth * sharp / width));
  Object.assign(canvas, { width: width * zoom, height: height * zoom });
  const context = canvas.getContext("2d"), [truth] = maps, labels = maps[part];
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (view === "image") return;
  // With errors the outline is thin, and absent in small pictures: it would hide errors of fine structures.
  const lines = !part || view === "labels" ? [["#000", 3], ["#fff", 1.2]] : canvas.clientWidth < 160 ? [] : [["#000", 1.6], ["#fff", 0.8]];
  const fills = {};
  for (let i = 0; i < labels.length; i++) {
    const colour = truth[i] === IGNORE && (!part || view === "errors") ? IGNORED
      : view === "labels" ? (labels[i] ? LABELS[labels[i]] : null) : wrong(truth[i], labels[i]);
    if (colour) (fills[colour] ??= new Path2D()).rect(i % width * zoom, Math.floor(i / width) * zoom, zoom, zoom);
  }
  context.globalAlpha = view === "labels" ? 0.55 : 0.72;
  for (const [colour, path] of Object.entries(fills)) { context.fillStyle = colour; context.fill(path); }
  context.globalAlpha = 1;
  const outline = new Path2D(), at = (x, y) => truth[y * width + x];
  const edge = (a, b) => a !== b && a !== IGNORE && b !== IGNORE;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (x && edge(at(x, y), at(x - 1, y))) { outline.moveTo(x * zoom, y * zoom); outline.lineTo(x * zoom, (y + 1) * zoom); }
    if (y && edge(at(x, y), at(x, y - 1))) { outline.moveTo(x * zoom, y * zoom); outline.lineTo((x + 1) * zoom, y * zoom); }
  }
  context.lineCap = "square";
  for (const [style, line] of lines) { context.strokeStyle = style; context.lineWidth = line * sharp; context.stroke(outline); }
};

const panel = (picture, part) => {
  const name = part ? picture.models[part - 1] : "truth", value = part ? picture.scores[part - 1] : "";
  const canvas = element("canvas", { role: "img", ariaLabel: `${name} ${value}` });
  const text = element("span", { className: "name" }, name, " ", element("span", { className: "nowrap" }, value));
  return [element("span", { className: "panel" }, canvas, text), canvas];
};

const fill = async (parent, picture, view) => {
  const panels = [0, ...picture.models.map((_, i) => i + 1)].map(part => panel(picture, part));
  parent.replaceChildren(...panels.map(([node]) => node));
  const loaded = await load(picture);
  panels.forEach(([, canvas], part) => draw(canvas, loaded, part, view));
};

const dialog = document.querySelector("dialog");
let pages = { pictures: {}, ids: [], classes: [], at: 0 };

const showPage = async () => {
  const id = pages.ids[pages.at], picture = pages.pictures[id];
  const view = dialog.querySelector("[name=view]:checked").value;
  const repeat = picture.repeats.length ? `, repeat ${[...new Set(picture.repeats)].join(", ")}` : "";
  document.getElementById("dialog-title").textContent = `${id} (${pages.at + 1} of ${pages.ids.length}${repeat})`;
  const keys = view === "errors" ? Object.entries(COLOURS).slice(0, pages.classes.length > 2 ? 3 : 2)
    : view === "labels" ? pages.classes.slice(1).map((name, i) => [LABELS[i + 1], name]) : [];
  const loaded = await load(picture);
  if (pages.pictures[pages.ids[pages.at]] !== picture) return; // another was asked for meanwhile
  if (view !== "image" && loaded.maps[0].includes(IGNORE)) keys.push([IGNORED, "not scored"]);
  const spots = keys.flatMap(([colour, text]) => {
    const spot = element("span", { className: "key" });
    spot.style.background = colour;
    return [spot, text];
  });
  dialog.querySelector(".legend").replaceChildren(view === "image" ? "" : "Outline: truth.", ...spots);
  await fill(dialog.querySelector(".panels"), picture, view);
};
const turn = step => {
  pages.at = (pages.at + step + pages.ids.length) % pages.ids.length;
  showPage();
};
dialog.addEventListener("change", showPage);
dialog.querySelector("[name=previous]").addEventListener("click", () => turn(-1));
dialog.querySelector("[name=next]").addEventListener("click", () => turn(1));
dialog.addEventListener("keydown", event => {
  if (event.target.type === "radio") return; // arrow keys choose the view there
  if (event.key === "ArrowLeft") turn(-1);
  if (event.key === "ArrowRight") turn(1);
});
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

// ---- curves

const niceStep = span => {
  const power = 10 ** Math.floor(Math.log10(span / 5));
  return [1, 2, 5, 10].map(step => step * power).find(step => span / step <= 6);
};

const statistics = runs => {
  const length = Math.max(...runs.map(run => run.length));
  return Array.from({ length }, (_, epoch) => {
    const values = runs.map(run => run[Math.min(epoch, run.length - 1)]).filter(value => value !== null);
    if (!values.length) return null;
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return { mean, std: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
  });
};

const curves = (section, { runs, looks, names, percent }) => {
  const chart = section.querySelector(".chart"), readout = section.querySelector(".readout");
  const models = Object.keys(looks), hidden = new Set(), explained = readout.textContent;
  const metric = section.querySelector("[name=metric]"), every = section.querySelector("[name=runs]");
  const colour = model => looks[model].colour;
  const line = model => ({ fill: "none", stroke: colour(model), ...(looks[model].dashes && { "stroke-dasharray": looks[model].dashes }) });
  let epoch = null, series = [], x = null;

  for (const model of models) {
    const box = element("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => { hidden[box.checked ? "delete" : "add"](model); redraw(); });
    const swatch = shape("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
    swatch.append(shape("line", { x1: 0, y1: 5, x2: 26, y2: 5, "stroke-width": 2.5, ...line(model) }));
    section.querySelector(".models").append(element("label", {}, box, swatch, model));
  }

  const redraw = () => {
    const { width, height } = chart.getBoundingClientRect();
    const scored = percent.includes(metric.value), scale = scored ? 100 : 1;
    series = models.filter(model => !hidden.has(model)).map(model => {
      const own = runs.filter(run => run.model === model && run.values[metric.value])
        .map(run => run.values[metric.value].map(value => value === null ? null : value * scale));
      return { model, own, points: own.length ? statistics(own) : [] };
    });
    const epochs = Math.max(2, ...series.map(one => one.points.length));
    const ends = series.flatMap(one => one.points.filter(Boolean).flatMap(p => [p.mean - p.std, p.mean + p.std]));
    const shown = every.checked ? [...ends, ...series.flatMap(one => one.own.flat()).filter(value => value !== null)] : ends;
    const low = scored ? Math.max(0, 10 * Math.floor(Math.min(90, ...shown) / 10)) : 0, high = scored ? 100 : Math.max(...shown, 1e-9);
    const left = 52, right = 12, top = 10, bottom = 40;
    x = value => left + (value - 1) / (epochs - 1) * (width - left - right);
    const y = value => top + (high - Math.min(high, Math.max(low, value))) / (high - low) * (height - top - bottom);
    const path = points => points.map((p, i) => p === null ? "" : `${i && points[i - 1] !== null ? "L" : "M"}${x(i + 1)} ${y(p)}`).join("");
    const alone = points => points.map((p, i) => [i + 1, p]) // a line of one point is invisible
      .filter(([i, p]) => p !== null && (points[i - 2] ?? null) === null && (points[i] ?? null) === null);
    const dots = (points, look) => alone(points).forEach(([i, p]) => chart.append(shape("circle", { cx: x(i), cy: y(p), ...look })));
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    chart.replaceChildren();
    const step = niceStep(high - low);
    for (let value = Math.ceil(low / step) * step; value <= high * 1.0001; value += step) {
      chart.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
      chart.append(shape("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, `${+value.toPrecision(6)}`));
    }
    const stride = Math.max(1, Math.round(niceStep(epochs)));
    for (let tick = stride === 1 ? 1 : stride; tick <= epochs; tick += stride)
      chart.append(shape("text", { x: x(tick), y: height - bottom + 18, "text-anchor": "middle" }, tick));
    chart.append(shape("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, `epoch (${names[metric.value]}${scored ? " in %" : ""})`));
    for (const { model, own, points } of series) {
      if (every.checked) for (const run of own) {
        chart.append(shape("path", { d: path(run), ...line(model), opacity: 0.35 }));
        dots(run, { r: 2, fill: colour(model), opacity: 0.35 });
      }
      else {
        const back = points.map((p, i) => [p, i]).filter(([p]) => p).reverse().map(([p, i]) => `L${x(i + 1)} ${y(p.mean - p.std)}`).join("");
        chart.append(shape("path", { d: `${path(points.map(p => p && p.mean + p.std)).replace(/(?!^)M/g, "L")}${back}Z`, fill: colour(model), opacity: 0.16 }));
      }
      const means = points.map(p => p && p.mean);
      chart.append(shape("path", { d: path(means), ...line(model), "stroke-width": 2.5 }));
      dots(means, { r: 3, fill: colour(model) });
    }
    if (epoch === null) return;
    chart.append(shape("line", { class: "cursor", x1: x(epoch), x2: x(epoch), y1: top, y2: height - bottom }));
    const values = series.map(({ model, points }) => {
      const p = points[Math.min(epoch, points.length) - 1];
      if (p) chart.append(shape("circle", { cx: x(epoch), cy: y(p.mean), r: 4, fill: colour(model) }));
      return `${model} ${p ? `${+p.mean.toPrecision(4)} ± ${+p.std.toPrecision(3)}` : "nothing"}`;
    });
    readout.textContent = `Epoch ${epoch}, ${names[metric.value]}${scored ? " in %" : ""}: ${values.join("; ")}.`;
  };

  const point = to => {
    const epochs = Math.max(1, ...series.map(one => one.points.length));
    epoch = to === null ? null : Math.min(epochs, Math.max(1, to));
    if (epoch === null) readout.textContent = explained;
    redraw();
  };
  chart.addEventListener("pointermove", event => {
    const offset = event.clientX - chart.getBoundingClientRect().left;
    point(Math.round((offset - x(1)) / (x(2) - x(1))) + 1);
  });
  chart.addEventListener("pointerleave", () => point(null));
  chart.addEventListener("blur", () => point(null));
  chart.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    point((epoch ?? 0) + step);
  });
  metric.addEventListener("change", redraw);
  every.addEventListener("change", redraw);
  section.hidden = false;
  redraw();
  new ResizeObserver(redraw).observe(chart);
};

// ---- every sweep

for (const sweep of document.querySelectorAll("[data-sweep]")) {
  const { curves: drawn, classes, pictures } = JSON.parse(document.getElementById(sweep.dataset.sweep).textContent);
  if (!drawn) continue;
  curves(sweep.querySelector(".curves"), drawn);
  if (!sweep.querySelector("table.images")) continue;

  const table = sweep.querySelector("table.images"), controls = sweep.querySelector(".controls:has([name=find])");
  const [find, most] = ["find", "most"].map(name => controls.querySelector(`[name=${name}]`));
  const lower = controls.querySelector("[name=lower]"); // present if models have twins
  const filter = () => {
    const words = find.value.toLowerCase(), limit = most.value === "" ? Infinity : Number(most.value);
    let count = 0;
    for (const row of table.tBodies[0].rows) {
      const [image, group] = row.cells;
      const scores = [...row.querySelectorAll(".score")].map(cell => cell.dataset.key);
      const differences = [...row.querySelectorAll(".difference")].map(cell => cell.dataset.key);
      const kept = `${image.textContent} ${group.textContent}`.toLowerCase().includes(words)
        && (limit === Infinity || scores.some(score => score !== "" && score <= limit))
        && (!lower?.value || (differences[lower.value] !== "" && differences[lower.value] < 0));
      row.hidden = !kept;
      count += kept;
    }
    controls.querySelector(".count").textContent = `${count} of ${table.tBodies[0].rows.length} images`;
  };
  controls.addEventListener("input", filter);
  controls.hidden = false;
  filter();

  const gallery = document.querySelector(`[data-of="${sweep.id}"]`);
  const open = (buttons, image) => {
    const ids = [...buttons].map(button => button.dataset.image);
    pages = { pictures, classes, ids, at: ids.indexOf(image) };
    dialog.showModal();
    showPage();
  };
  gallery?.addEventListener("click", event => {
    const button = event.target.closest(".case")?.querySelector("[data-image]");
    if (button) open(gallery.querySelectorAll("[data-image]"), button.dataset.image);
  });
  table.addEventListener("click", event => {
    const button = event.target.closest("[data-image]");
    if (button) open(table.querySelectorAll("tr:not([hidden]) .open"), button.dataset.image);
  });
}
