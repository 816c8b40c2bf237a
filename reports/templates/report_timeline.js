// `copy` is a class of kernels: they compute, the copy engine does not run them
const COPIES = new Set(["memcpy", "memset"]);
const LANE_GAP = 0.5;

/** How deep each event lies in those of its lane that are still open. */
function depths(events) {
  const order = events.start.map((_, i) => i);
  order.sort((a, b) => events.start[a] - events.start[b] || events.dur[b] - events.dur[a]);
  const open = new Map();
  const depth = new Array(order.length).fill(0);
  for (const i of order) {
    const stack = open.get(events.lane[i]) || [];
    while (stack.length && stack[stack.length - 1] <= events.start[i] + 1e-6) stack.pop();
    depth[i] = stack.length;
    stack.push(events.start[i] + events.dur[i]);
    open.set(events.lane[i], stack);
  }
  return depth;
}

/** Rows from the top: idle gaps, streams, threads; a lane has a row for each depth. */
function laneRows(lanes, events, depth) {
  const height = lanes.map(() => 1);
  events.lane.forEach((lane, i) => { height[lane] = Math.max(height[lane], depth[i] + 1); });
  const isStream = (i) => /^GPU /.test(lanes[i]);
  const order = lanes.map((_, i) => i).sort((a, b) => isStream(b) - isStream(a) || a - b);
  const top = new Array(lanes.length);
  let next = 1 + LANE_GAP;
  for (const lane of order) {
    top[lane] = next;
    next += height[lane] + LANE_GAP;
  }
  return { top, height, total: next };
}

function eventKey(kind, onStream) {
  if (kind === "communication") return "communication";
  if (COPIES.has(kind)) return "copy";
  return onStream ? "compute" : `host-${kind}`;
}

function eventHover(events, i) {
  const name = wrapped(cut(events.names[events.name[i]], 320), 64);
  const kind = plain(events.kinds[events.kind[i]]);
  const from = `from ${(events.start[i] / 1000).toFixed(3)} ms`;
  return `${name}<br>${kind}, ${timeText(events.dur[i])}, ${from}`;
}

/** Bars of one colour as one trace; `rowOf` gives an event's row. */
function barTraces(events, keyOf, rowOf) {
  const groups = new Map();
  events.start.forEach((_, i) => {
    const key = keyOf(i);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(i);
  });
  return [...groups].map(([key, members]) => ({
    type: "bar",
    orientation: "h",
    name: key,
    base: members.map((i) => events.start[i] / 1000),
    x: members.map((i) => events.dur[i] / 1000),
    y: members.map(rowOf),
    width: 0.86,
    meta: members.map((i) => events.names[events.name[i]]),
    text: members.map(() => ""),
    textposition: "inside",
    insidetextanchor: "start",
    textangle: 0,
    hovertext: members.map((i) => eventHover(events, i)),
    hoverinfo: "text",
    marker: { color: colorOf(key), line: { width: 0 } },
  }));
}

function timelineTraces(line, rows, depth) {
  const { events, gaps, lanes } = line;
  const onStream = (i) => /^GPU /.test(lanes[events.lane[i]]);
  const eventRow = (i) => rows.top[events.lane[i]] + depth[i];
  const gapKey = (i) => `idle-${gaps.kinds[gaps.kind[i]]}`;
  return [
    ...barTraces(gaps, gapKey, () => 0),
    ...barTraces(events, (i) => eventKey(events.kinds[events.kind[i]], onStream(i)), eventRow),
  ];
}

function laneTicks(line, rows) {
  const most = narrow() ? 11 : 20;
  const middle = line.lanes.map((_, i) => rows.top[i] + (rows.height[i] - 1) / 2);
  return {
    tickvals: [0, ...middle],
    ticktext: ["idle", ...line.lanes.map((lane) => plain(cut(laneName(lane), most)))],
  };
}

function laneName(lane) {
  return narrow() ? lane.replace(/^GPU \d+ stream/, "str.").replace(/^thread/, "thr.") : lane;
}

function timelineLegend(traces, gaps) {
  const causes = new Map(gaps.kind.map((k, i) => [`idle-${gaps.kinds[k]}`, gaps.names[gaps.name[i]]]));
  const label = (key) =>
    causes.has(key) ? `idle: ${causes.get(key)}` : key.replace(/^host-/, "host ");
  return traces.map((trace) => [trace.name, label(trace.name)]);
}
