const PAGE_ROWS = 50;
const COLUMNS = [
  { title: "kernel", index: 0 },
  { title: "total", index: 3, show: timeText },
  { title: "share", index: 5, show: shareText },
  { title: "mean", index: 4, show: timeText },
  { title: "launches", index: 2, show: countText },
  { title: "class", index: 1 },
];
const kernelView = { column: COLUMNS[1], descending: true, search: "", rows: PAGE_ROWS };

function sortedKernels() {
  const { column, descending, search } = kernelView;
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = page.kernels.filter((row) => {
    const text = `${row[0]} ${row[1]}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const order = column.show
    ? (a, b) => a[column.index] - b[column.index]
    : (a, b) => a[column.index].localeCompare(b[column.index]);
  return found.sort((a, b) => (descending ? order(b, a) : order(a, b)));
}

function kernelRow(row) {
  const made = element("tr");
  const head = element("th", "", "word");
  head.scope = "row";
  head.title = row[0];
  head.append(element("code", row[0] || "(no name)"));
  made.append(head);
  for (const { index, show } of COLUMNS.slice(1)) {
    made.append(element("td", show ? show(row[index]) : row[index], show ? "number" : "word"));
  }
  return made;
}

function showKernels() {
  const found = sortedKernels();
  const shown = found.slice(0, kernelView.rows);
  byId("kernel-table").tBodies[0].replaceChildren(...shown.map(kernelRow));
  byId("kernel-count").textContent = `${shown.length} of ${found.length} kernels`;
  byId("kernel-more").hidden = shown.length === found.length;
  markSorted();
}

function markSorted() {
  const heads = byId("kernel-table").tHead.rows[0].cells;
  COLUMNS.forEach((column, i) => {
    const direction = kernelView.descending ? "descending" : "ascending";
    heads[i].setAttribute("aria-sort", column === kernelView.column ? direction : "none");
  });
}

function sortBy(column) {
  const again = kernelView.column === column;
  kernelView.descending = again ? !kernelView.descending : Boolean(column.show);
  kernelView.column = column;
  showKernels();
}

function kernelHead(column) {
  const head = element("th", "", column.show ? "number" : "word");
  const button = element("button", column.title);
  head.scope = "col";
  button.type = "button";
  button.addEventListener("click", () => sortBy(column));
  head.append(button);
  return head;
}

function startKernels() {
  if (!byId("kernel-table")) return;
  byId("kernel-table").tHead.rows[0].append(...COLUMNS.map(kernelHead));
  byId("kernel-search").addEventListener("input", (event) => {
    Object.assign(kernelView, { search: event.target.value, rows: PAGE_ROWS });
    showKernels();
  });
  byId("kernel-more").addEventListener("click", () => {
    kernelView.rows += 200;
    showKernels();
  });
  showKernels();
}
