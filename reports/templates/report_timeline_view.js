const MOST_LABELS = 150;
const LETTER = 8.5; // pixels

function viewOf(target) {
  return target.layout.xaxis.range.map(Number);
}

function clamped(from, to, wall) {
  const length = Math.min(Math.max(to - from, wall / 1e5), wall);
  const start = Math.min(Math.max(from, 0), wall - length);
  return [start, start + length];
}

function moved(action, target, wall, gap) {
  const [from, to] = viewOf(target);
  const length = to - from;
  const views = {
    in: () => [from + length / 4, to - length / 4],
    out: () => [from - length / 2, to + length / 2],
    left: () => [from - length / 2, to - length / 2],
    right: () => [from + length / 2, to + length / 2],
    gap: () => gap.next(),
    all: () => [0, wall],
  };
  return clamped(...views[action](), wall);
}

/** Idle gaps by length, one after another, each with its surroundings. */
function gapTour(gaps) {
  const order = gaps.start.map((_, i) => i).sort((a, b) => gaps.dur[b] - gaps.dur[a]);
  let at = -1;
  return {
    next() {
      if (!order.length) return [0, Infinity];
      at = (at + 1) % order.length;
      const i = order[at];
      const margin = gaps.dur[i] * 0.6;
      const from = Math.max(gaps.start[i] - margin, 0);
      return [from / 1000, (gaps.start[i] + gaps.dur[i] + margin) / 1000];
    },
  };
}

/** Names stand in the bars once few enough are in view to be read. */
function labelBars(target) {
  const [from, to] = viewOf(target);
  const room = to - from;
  const fits = (trace, i) => Math.floor((trace.x[i] / room) * (target.clientWidth / LETTER));
  const shows = (trace, i) =>
    trace.base[i] < to && trace.base[i] + trace.x[i] > from && fits(trace, i) > 4;
  const wanted = target.data.map((t) => t.base.map((_, i) => i).filter((i) => shows(t, i)));
  const total = wanted.reduce((sum, list) => sum + list.length, 0);
  const texts = target.data.map((trace, k) => {
    const text = new Array(trace.base.length).fill("");
    for (const i of total <= MOST_LABELS ? wanted[k] : []) {
      text[i] = plain(cut(trace.meta[i], Math.min(fits(trace, i), 80)));
    }
    return text;
  });
  return window.Plotly.restyle(target, { text: texts });
}

function sayRange(target) {
  const [from, to] = viewOf(target);
  byId("timeline-range").textContent =
    `${from.toFixed(3)} to ${to.toFixed(3)} ms (${timeText((to - from) * 1000)})`;
}

function steer(target, line) {
  const wall = line.wall / 1000;
  const gap = gapTour(line.gaps);
  const go = (action) =>
    window.Plotly.relayout(target, { "xaxis.range": moved(action, target, wall, gap) });
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => go(button.dataset.zoom));
  }
  const keys = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all" };
  target.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    go(keys[event.key]);
  });
}

function watch(target) {
  let shown = "";
  const follow = () => {
    const view = viewOf(target).join();
    if (view === shown) return;
    shown = view;
    sayRange(target);
    labelBars(target);
  };
  target.on("plotly_relayout", follow);
  follow();
}

function timelineLayout(line, rows) {
  const pixels = Math.min(Math.max(rows.total * 22, 220), 1400);
  return {
    barmode: "overlay",
    height: pixels + 56,
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    margin: { l: narrow() ? 78 : 150, r: 12, t: 6, b: 44 },
    uniformtext: { mode: "hide", minsize: 10 },
    xaxis: {
      title: { text: "ms from the step's start" },
      range: [0, line.wall / 1000],
      minallowed: 0,
      maxallowed: line.wall / 1000,
    },
    yaxis: { range: [rows.total - 0.4, -0.7], fixedrange: true, showgrid: false, zeroline: false,
      tickmode: "array", ...laneTicks(line, rows) },
  };
}

async function drawTimeline() {
  const line = page.timeline;
  if (!line || !byId("timeline")) return;
  const depth = depths(line.events);
  const rows = laneRows(line.lanes, line.events, depth);
  const traces = timelineTraces(line, rows, depth);
  fillLegend("timeline-legend", timelineLegend(traces, line.gaps));
  const target = await draw("timeline", traces, timelineLayout(line, rows), { doubleClick: "reset" });
  target.tabIndex = 0;
  target.setAttribute("role", "group");
  steer(target, line);
  watch(target);
}
