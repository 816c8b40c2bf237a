/** Positions of the ticked boxes, as the sets of the page's data are named. */
function tickedSet() {
  const boxes = [...document.querySelectorAll("#whatif-choice input")];
  return boxes.flatMap((box, i) => (box.checked ? [i] : [])).join(",");
}

/** Looked up, never summed: what fixes return together is replayed, not added. */
function showPredicted() {
  const found = page.whatif.sets[tickedSet()];
  byId("whatif-said").textContent = found ? found.said : "This set was not replayed.";
  const { step, low, high } = found || { step: 0, low: 0, high: 0 };
  byId("whatif-now").style.width = `${page.whatif.sets[""].step}%`;
  byId("whatif-step").style.width = `${step}%`;
  byId("whatif-between").style.left = `${low}%`;
  byId("whatif-between").style.width = `${high - low}%`;
}

function startWhatif() {
  if (!byId("whatif-choice")) return;
  byId("whatif-choice").addEventListener("change", showPredicted);
  showPredicted();
}
