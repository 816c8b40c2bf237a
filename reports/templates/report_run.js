function runHover(point) {
  const longest = point.max > point.wall ? `<br>longest ${timeText(point.max)}` : "";
  const kind = point.profiled ? "<br>with the profiler" : "";
  return `step ${point.step}: ${timeText(point.wall)}${longest}`
    + `<br>waiting for data ${timeText(point.data)}${kind}`;
}

/** One line; profiled points are marked, since the profiler's own time is in them. */
function runTrace(points, value, key) {
  return {
    type: "scatter",
    mode: "lines+markers",
    x: points.map((p) => p.step),
    y: points.map((p) => p[value] / 1000),
    hovertext: points.map(runHover),
    hoverinfo: "text",
    line: { color: colorOf(key), width: 1.5 },
    marker: {
      color: colorOf(key),
      size: points.map((p) => (p.profiled ? 8 : points.length > 100 ? 2 : 4)),
      symbol: points.map((p) => (p.profiled ? "diamond" : "circle")),
    },
  };
}

async function drawRun() {
  const points = page.run;
  if (!byId("run-steps") || !points) return;
  fillLegend("run-steps-legend", [["compute", "step time (diamonds: with the profiler)"],
    ["idle-dataloader", "waiting for data"]]);
  const traces = [runTrace(points, "wall", "compute"), runTrace(points, "data", "idle-dataloader")];
  await draw("run-steps", traces, {
    height: 240,
    dragmode: false,
    margin: { l: 56, r: 8, t: 8, b: 40 },
    xaxis: { title: { text: "step" }, showgrid: false, zeroline: false },
    yaxis: { title: { text: "ms" }, rangemode: "tozero" },
  });
}
