/** Copies through a selection where the clipboard is closed, as on a page opened from disk. */
async function copyText(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection().selectAllChildren(source);
    document.execCommand("copy");
  }
}

function startCopying() {
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      await copyText(button.parentElement.querySelector("code"));
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

async function drawCharts() {
  if (!document.querySelector(".chart")) return;
  try {
    await loadPlotly();
    await drawRun();
    await drawSteps();
    await drawTimeline();
    followTheme();
  } catch (error) {
    sayUndrawn(error);
  }
}

document.body.classList.remove("no-js");
startCopying();
startKernels();
startWhatif();
drawCharts().then(() => { document.documentElement.dataset.drawn = "yes"; });
