function stepName(label) {
  return label.replace(/^ProfilerStep#/, "");
}

function stepHover(series, i) {
  const us = series.us[i];
  const steps = page.steps;
  const wall = steps.wall[i];
  const left = steps.counted[i] ? "" : "<br>left out of the means";
  const part = `${plain(series.label)}: ${timeText(us)} (${shareText(wall ? us / wall : 0)})`;
  return `${wrapped(steps.labels[i], 60)}, ${timeText(wall)}<br>${part}${left}`;
}

function stepTrace(series) {
  const counted = page.steps.counted;
  return {
    type: "bar",
    name: series.key,
    x: series.us.map((_, i) => i),
    y: series.us.map((us) => us / 1000),
    hovertext: series.us.map((_, i) => stepHover(series, i)),
    hoverinfo: "text",
    marker: {
      color: colorOf(series.key),
      opacity: counted.map((c) => (c ? 1 : 0.55)),
      pattern: {
        shape: counted.map((c) => (c ? (series.key === page.unknown ? "." : "") : "/")),
        fillmode: "overlay",
        fgcolor: "rgba(0,0,0,0.55)",
        size: 7,
      },
    },
  };
}

/** At most twenty labels: every step of few, every tenth of many. */
function stepTicks() {
  const labels = page.steps.labels;
  const every = Math.ceil(labels.length / (narrow() ? 8 : 20));
  const at = labels.map((_, i) => i).filter((i) => i % every === 0);
  return { tickvals: at, ticktext: at.map((i) => plain(cut(stepName(labels[i]), 12))) };
}

async function drawSteps() {
  if (!byId("steps")) return;
  const series = page.steps.series.filter((s) => s.us.some((us) => us > 0));
  fillLegend("steps-legend", series.map((s) => [s.key, s.label]));
  await draw("steps", series.map(stepTrace), {
    barmode: "stack",
    height: 300,
    bargap: 0.25,
    dragmode: false,
    margin: { l: 56, r: 8, t: 8, b: 40 },
    xaxis: { title: { text: "step" }, tickmode: "array", ...stepTicks(), showgrid: false,
      zeroline: false },
    yaxis: { title: { text: "ms" }, rangemode: "tozero" },
  });
}
