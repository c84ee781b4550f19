"use strict";
// Everything from the suite is set with textContent: what a plugin or a file says stays text.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (name) => document.getElementById(name);
  const data = JSON.parse(byId("data").textContent);

  const make = (tag, text = "", attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // Metric
  const metric = byId("metric");
  const showMetric = () => {
    for (const board of all(".board")) board.hidden = board.dataset.metric !== metric.value;
  };

  // Sorting: what has no figure comes last, whichever way
  const sortBy = (header, way) => {
    const table = header.closest("table");
    const body = table.tBodies[0];
    const place = header.cellIndex;
    for (const other of all("thead th", table)) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", way);
    const sign = way === "ascending" ? 1 : -1;
    const words = header.classList.contains("name");
    const valueOf = (row) => row.cells[place].dataset.value;
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [valueOf(one), valueOf(other)];
      if (words) return sign * a.localeCompare(b);
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (Number(a) - Number(b));
    });
    body.append(...rows);
  };
  const opposite = { ascending: "descending", descending: "ascending" };
  for (const button of all(".sortable thead button")) {
    button.addEventListener("click", () => {
      const header = button.closest("th");
      sortBy(header, opposite[header.getAttribute("aria-sort")] || header.dataset.first);
      keepView();
    });
  }

  // Ranks among what is shown: over the data sets on which somebody is complete, of the methods that are complete on all of them
  const rankShown = (board) => {
    const shown = [...board.querySelector("tbody").rows].filter((row) => !row.hidden);
    const headers = all("thead th[data-dataset]", board).filter((header) => !header.hidden);
    const cellsOf = (header) => shown.map((row) => row.cells[header.cellIndex]);
    const columns = headers.filter((header) => cellsOf(header).some((cell) => "ranks" in cell.dataset));
    const complete = shown.filter((row) => columns.every((header) => "ranks" in row.cells[header.cellIndex].dataset));
    const sums = new Map(complete.map((row) => [row, 0]));
    for (const header of columns) {
      const sign = header.dataset.first === "descending" ? -1 : 1;
      const values = complete.map((row) => sign * Number(row.cells[header.cellIndex].dataset.value));
      const close = 1e-12 * Math.max(...values.map(Math.abs));
      complete.forEach((row, place) => {
        const better = values.filter((value) => value < values[place] - close).length;
        const equal = values.filter((value) => Math.abs(value - values[place]) <= close).length;
        sums.set(row, sums.get(row) + better + (equal + 1) / 2);
      });
    }
    for (const row of board.querySelector("tbody").rows) {
      const rank = sums.has(row) && columns.length ? sums.get(row) / columns.length : null;
      const cell = row.querySelector("td.rank");
      cell.dataset.value = rank === null ? "" : String(rank);
      cell.textContent = rank === null ? "–" : rank.toFixed(1);
    }
    const header = board.querySelector("th.rank");
    if (header.getAttribute("aria-sort") !== "none") sortBy(header, header.getAttribute("aria-sort"));
  };

  // Filters: a label is kept if one of the words is in it
  const methodFilter = byId("filter-methods");
  const datasetFilter = byId("filter-datasets");
  const plain = (text) => text.toLowerCase().replaceAll("_", " ");
  const kept = (labels, filter) => {
    const words = plain(filter.value).split(/[\s,|]+/).filter(Boolean);
    return labels.map((label) => !words.length || words.some((word) => plain(label).includes(word)));
  };
  const applyFilters = () => {
    const methods = kept(data.methods, methodFilter);
    const datasets = kept(data.datasets, datasetFilter);
    for (const element of all("[data-method]")) element.hidden = !methods[Number(element.dataset.method)];
    for (const element of all("[data-dataset]")) element.hidden = !datasets[Number(element.dataset.dataset)];
    for (const element of all("[data-dataset-label]")) element.hidden = !datasets[data.datasets.indexOf(element.dataset.datasetLabel)];
    for (const board of all(".board")) rankShown(board);
    const count = (flags) => flags.filter(Boolean).length;
    byId("shown").textContent = `${count(methods)} of ${methods.length} methods, ${count(datasets)} of ${datasets.length} data sets`;
  };

  // The view in the address: a link to it shows the same
  const shownBoard = () => all(".board").find((board) => !board.hidden);
  const keepView = () => {
    const view = new URLSearchParams();
    if (metric.value !== "0") view.set("metric", data.metrics[Number(metric.value)]);
    if (methodFilter.value.trim()) view.set("methods", methodFilter.value.trim());
    if (datasetFilter.value.trim()) view.set("datasets", datasetFilter.value.trim());
    const sorted = shownBoard().querySelector('th:not([aria-sort="none"])');
    if (sorted && !sorted.classList.contains("rank")) view.set("sort", `${sorted.cellIndex} ${sorted.getAttribute("aria-sort")}`);
    history.replaceState(null, "", `#${view}`);
  };
  const readView = () => {
    const view = new URLSearchParams(location.hash.slice(1));
    const place = data.metrics.indexOf(view.get("metric"));
    metric.value = String(Math.max(0, place));
    methodFilter.value = view.get("methods") || "";
    datasetFilter.value = view.get("datasets") || "";
    showMetric();
    applyFilters();
    const [column, way] = (view.get("sort") || "").split(" ");
    const header = shownBoard().querySelectorAll("thead th")[Number(column)];
    if (header && way in opposite) sortBy(header, way);
  };
  metric.addEventListener("change", () => {
    showMetric();
    keepView();
  });
  for (const filter of [methodFilter, datasetFilter]) {
    filter.addEventListener("input", () => {
      applyFilters();
      keepView();
    });
  }

  // Download of what is shown
  const shownRows = () => {
    const board = shownBoard();
    const headers = all("thead th", board).filter((header) => !header.hidden);
    const names = headers.map((header) => (header.dataset.dataset ? data.datasets[Number(header.dataset.dataset)] : header.querySelector("button").firstChild.textContent));
    const rows = [...board.querySelector("tbody").rows].filter((row) => !row.hidden);
    return rows.map((row) =>
      Object.fromEntries(
        headers.map((header, place) => {
          const { value } = row.cells[header.cellIndex].dataset;
          const written = names[place] === "wins/ties/losses" ? row.cells[header.cellIndex].textContent : value;
          const isText = header.classList.contains("name") || written !== value;
          return [names[place], isText ? written : value === "" ? null : Number(value)];
        }),
      ),
    );
  };
  const quoted = (value) => {
    const text = value === null ? "" : typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const toCsv = (rows) => [Object.keys(rows[0] || {}), ...rows.map(Object.values)].map((line) => `${line.map(quoted).join(",")}\n`).join("");
  const save = (text, type, suffix) => {
    const link = make("a", "", { download: `${document.querySelector("h1").textContent}.${suffix}`, href: URL.createObjectURL(new Blob([text], { type })) });
    link.click();
    URL.revokeObjectURL(link.href);
  };
  byId("download-csv").addEventListener("click", () => save(toCsv(shownRows()), "text/csv", "csv"));
  byId("download-json").addEventListener("click", () => save(`${JSON.stringify({ metric: data.metrics[Number(metric.value)], rows: shownRows() }, null, 1)}\n`, "application/json", "json"));

  // One tab stop a row: the arrows lead to its figures
  for (const link of all(".sortable tbody td a")) link.tabIndex = -1;
  for (const table of all(".sortable")) {
    table.addEventListener("keydown", (event) => {
      const from = event.target.closest("tbody th, tbody td");
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!from || !steps) return;
      const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
      const row = rows[rows.indexOf(from.parentElement) + steps[0]];
      const cells = row ? [...row.cells] : [];
      let place = from.cellIndex + steps[1];
      while (cells[place] && (cells[place].hidden || !cells[place].querySelector("a"))) place += steps[1] || cells.length;
      const link = cells[place] && cells[place].querySelector("a");
      if (!link) return;
      event.preventDefault();
      link.focus();
    });
  }

  // Methods that are lit up in the figures
  for (const button of all(".legend button")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const element of all(`figure .series-${button.dataset.series}`)) element.classList.toggle("lit", on);
      document.body.classList.toggle("highlighting", all('.legend [aria-pressed="true"]').length > 0);
    });
  }

  // Trials: built when they are opened
  const table = (headers, rows) => {
    const region = make("div", "", { class: "wide", role: "region", tabindex: "0", "aria-label": "Table" });
    const element = make("table");
    const head = make("tr");
    for (const text of headers) head.append(make("th", text, { scope: "col" }));
    element.append(make("thead"), make("tbody"));
    element.tHead.append(head);
    for (const cells of rows) {
      const row = make("tr");
      for (const cell of cells) {
        const field = make("td", cell instanceof Node ? "" : cell);
        if (cell instanceof Node) field.append(cell);
        row.append(field);
      }
      element.tBodies[0].append(row);
    }
    region.append(element);
    return region;
  };
  const spelled = (value) => (value === null || value === undefined ? "–" : String(value));
  const buildCell = (details, cell) => {
    for (const number of cell.asked || []) {
      const [kind, name, parameters] = data.parts[number];
      const settings = Object.entries(parameters).map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(", ");
      const line = make("p", `${kind} ${name}: `);
      line.append(make("code", settings || "no parameters"));
      details.append(line);
    }
    details.append(
      table(
        ["metric", "mean", "95 % interval", "difference", "its interval", "p", "rank"],
        cell.figures.map((figures, place) => [data.metrics[place], ...figures]),
      ),
    );
    const trials = cell.trials || [];
    details.append(
      table(
        ["seed", "trial", "status", ...data.metrics, "wall s"],
        trials.map(([seed, name, status, figures, seconds, , stale]) => [
          String(seed),
          make("code", `bench show ${name}`),
          stale ? `${status}, stale` : status,
          ...data.metrics.map((_, place) => spelled(figures[place])),
          spelled(seconds),
        ]),
      ),
    );
    for (const [seed, , status, , , error] of trials) {
      if (error === null || error === undefined) continue;
      const trace = make("details");
      trace.append(make("summary", `seed ${seed}: ${status}`), make("pre", data.errors[error], { tabindex: "0" }));
      details.append(trace);
    }
  };
  const once = (details, build) => {
    let built = false;
    const open = () => {
      if (!built) build();
      built = true;
    };
    details.addEventListener("toggle", () => details.open && open());
    return open;
  };
  const builders = new Map();
  for (const details of all("#trials > details")) {
    const method = Number(details.dataset.method);
    builders.set(
      details.id,
      once(details, () => {
        data.cells[method].forEach((cell, dataset) => {
          const inner = make("details", "", { id: `${details.id}-${dataset}` });
          const trials = cell.trials || [];
          const ok = trials.filter((trial) => trial[2] === "ok").length;
          const summary = make("summary", `${data.datasets[dataset]} `);
          summary.append(make("span", `${ok}/${trials.length} ok`, { class: ok < trials.length ? "lack" : "unit" }));
          inner.append(summary);
          builders.set(inner.id, once(inner, () => buildCell(inner, cell)));
          details.append(inner);
        });
      }),
    );
  }
  const openTarget = () => {
    const found = /^#(trials-\d+)(-\d+)?$/.exec(location.hash);
    if (!found && location.hash.includes("=")) readView();
    if (!found || !byId(found[1])) return;
    for (const name of found[2] ? [found[1], found[1] + found[2]] : [found[1]]) {
      const details = byId(name);
      if (!details) return;
      builders.get(name)();
      details.open = true;
      details.scrollIntoView({ block: "start" });
      details.querySelector("summary").focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", openTarget);

  byId("leaderboard").querySelector(".controls").hidden = false;
  readView();
  openTarget();
})();
