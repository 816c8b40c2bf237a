const page = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const narrow = () => window.innerWidth < 640;

/** An element with text; data never passes as markup. */
function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function digits(value) {
  const size = Math.abs(value);
  if (size < 9.995) return value.toFixed(2);
  return size < 999.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en-US");
}

/** The same words as perfkit.reports.format.time_us. */
function timeText(us) {
  if (us === null) return "-";
  for (const [scale, unit] of [[1e6, "s"], [1e3, "ms"]]) {
    if (Math.abs(us) >= scale * 0.9995) return `${digits(us / scale)} ${unit}`;
  }
  return `${us.toFixed(us !== 0 && Math.abs(us) < 9.95 ? 1 : 0)} us`;
}

/** The same words as perfkit.reports.format.share. */
function shareText(value) {
  if (value === null) return "-";
  if (value > 0 && value < 0.0005) return "<0.1 %";
  return value ? `${(value * 100).toFixed(1)} %` : "0 %";
}

/** The same words as perfkit.reports.format.count. */
function countText(value) {
  if (value === null) return "-";
  if (value < 100 && value !== Math.round(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString("en-US");
}

/** Plotly reads some HTML in hover texts and ticks: what comes from the trace must not be any. */
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 3)}...` : text;
}

/** Lines for a hover box, escaped one by one so that no entity is cut. */
function wrapped(text, width) {
  const lines = [];
  for (let at = 0; at < text.length; at += width) lines.push(plain(text.slice(at, at + width)));
  return lines.join("<br>");
}

function colorOf(key) {
  return page.colors[key] || page.other;
}

function swatch(key) {
  const hatched = key === page.unknown ? " hatched" : "";
  const made = element("span", "", `swatch${hatched}`);
  made.style.backgroundColor = colorOf(key);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function fillLegend(id, entries) {
  const items = entries.map(([key, label]) => {
    const item = element("li");
    item.append(swatch(key), label);
    return item;
  });
  byId(id).replaceChildren(...items);
}
