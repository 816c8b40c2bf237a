const drawn = [];

/** Plotly's script, unpacked by the browser and run under its hash in the page's policy. */
async function loadPlotly() {
  const packed = Uint8Array.from(atob(byId("plotly-packed").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  if (!window.Plotly) throw new Error("Plotly did not start");
}

function themeLayout() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  const axis = (name) => ({
    [`${name}.gridcolor`]: value("--grid"),
    [`${name}.zerolinecolor`]: value("--grid"),
    [`${name}.linecolor`]: value("--line"),
  });
  return {
    "font.color": value("--text"),
    "hoverlabel.bgcolor": value("--panel"),
    "hoverlabel.bordercolor": value("--quiet"),
    "hoverlabel.font.color": value("--text"),
    ...axis("xaxis"),
    ...axis("yaxis"),
  };
}

function baseLayout() {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { align: "left", font: { family: "ui-monospace, monospace", size: 12 } },
    showlegend: false,
    hovermode: "closest",
  };
}

/** Sets `a.b` in nested objects. */
function setPath(target, path, value) {
  const names = path.split(".");
  const last = names.pop();
  names.reduce((inner, name) => (inner[name] ??= {}), target)[last] = value;
}

async function draw(id, traces, layout, config = {}) {
  const target = byId(id);
  target.replaceChildren();
  // the element's own height: a responsive chart forgets that of its layout
  target.style.height = `${layout.height}px`;
  const settings = { displaylogo: false, displayModeBar: false, responsive: true, ...config };
  const full = { ...baseLayout(), ...layout };
  for (const [path, value] of Object.entries(themeLayout())) setPath(full, path, value);
  await window.Plotly.newPlot(target, traces, full, settings);
  drawn.push(target);
  return target;
}

function applyTheme() {
  for (const target of drawn) window.Plotly.relayout(target, themeLayout());
}

/** Charts follow the reader's theme; a printed page is light. */
function followTheme() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
  const printing = (on) => () => {
    document.documentElement.classList.toggle("printing", on);
    applyTheme();
  };
  window.addEventListener("beforeprint", printing(true));
  window.addEventListener("afterprint", printing(false));
}

function sayUndrawn(error) {
  for (const chart of document.querySelectorAll(".chart .waiting")) {
    chart.textContent = "This browser cannot draw the charts; the tables hold their numbers.";
  }
  console.warn(error);
}
