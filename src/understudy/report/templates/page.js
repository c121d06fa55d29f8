"use strict";
(() => {
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const one = (what, within = document) => within.querySelector(what);

  // the theme: as the system, light, dark
  const themes = ["", "light", "dark"], names = { "": "system", light: "light", dark: "dark" };
  const button = one("#theme");
  const wear = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    one("span", button).textContent = names[theme];
  };
  let theme = "";
  try { theme = localStorage.getItem("understudy-theme") || ""; } catch { /* a page from a file may have no storage */ }
  if (!themes.includes(theme)) theme = "";
  wear(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    wear(theme);
    try { localStorage.setItem("understudy-theme", theme); } catch { /* it holds until the page is closed */ }
  });

  // tables that sort: numbers by value, names by letters, empty cells last
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const sort = (heading) => {
    const table = heading.closest("table"), body = table.tBodies[0], place = heading.cellIndex;
    const first = one("button", heading).dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? other : first;
    for (const cell of table.tHead.rows[0].cells) if (cell.hasAttribute("aria-sort")) cell.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const keyed = [...body.rows].map((row) => {
      const cell = row.cells[place], number = cell.dataset.v;
      return { row, number: number === undefined ? null : Number(number), text: cell.textContent.trim() };
    });
    const numeric = keyed.some((entry) => entry.number !== null);
    const empty = (entry) => (numeric ? entry.number === null : entry.text === "" || entry.text === "–");
    keyed.sort((a, b) => {
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      return sign * (numeric ? a.number - b.number : collator.compare(a.text, b.text));
    });
    body.append(...keyed.map((entry) => entry.row));
    table.dispatchEvent(new Event("sorted", { bubbles: true }));
    one("#said").textContent = `Sorted by ${one("button", heading).textContent.trim()}, ${order}`;
  };
  for (const table of all("table.sorts"))
    for (const heading of table.tHead.rows[0].cells) {
      const by = one("button", heading);
      if (by) by.addEventListener("click", () => sort(heading));
    }

  // rows to look at: by reason, and by words
  for (const part of all(".rows")) {
    const rows = all("tbody tr", part), count = one(".count", part), search = one("input[type=search]", part);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const more = one(".more", part);
    let most = 25;
    const show = () => {
      const why = one("input[type=radio]:checked", part).value;
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let fitting = 0;
      for (const row of one("tbody", part).rows) {
        const i = rows.indexOf(row);
        const fits = (!why || row.dataset.why.split(" ").includes(why)) && words.every((word) => texts[i].includes(word));
        fitting += fits;
        row.hidden = !fits || fitting > most;
      }
      const shown = Math.min(fitting, most);
      count.textContent = fitting === rows.length ? `${shown} of ${rows.length} rows` : `${shown} of ${fitting} rows that fit, of ${rows.length}`;
      more.hidden = fitting <= most;
    };
    more.addEventListener("click", () => { most += 50; show(); });
    part.addEventListener("sorted", show);
    one(".tools", part).hidden = false;
    search.addEventListener("input", show);
    for (const radio of all("input[type=radio]", part)) radio.addEventListener("change", show);
    show();
  }

  // charts: values by pointer and by keyboard
  const tip = one("#tip");
  let here = null;
  const leave = () => {
    if (here) here.classList.remove("here");
    here = null;
    tip.hidden = true;
  };
  const tell = (mark) => {
    if (mark === here) return;
    leave();
    here = mark;
    mark.classList.add("here");
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    place();
  };
  const place = () => {
    if (!here) return;
    const mark = here, svg = mark.closest("svg"), box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    const x = box.left + mark.dataset.x * scale, y = box.top + mark.dataset.y * scale;
    const left = Math.min(Math.max(8, x - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
    const above = y - tip.offsetHeight - 14;
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(above > 4 ? above : y + 16)}px)`;
  };
  for (const svg of all("svg.chart")) {
    const marks = all(".mark", svg);
    const at = (mark) => [Number(mark.dataset.x), Number(mark.dataset.y)];
    const nearest = (event) => {
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      let best = null, least = 34;
      for (const mark of marks) {
        const [a, b] = at(mark), bar = one("rect", mark);
        const away = bar ? (b <= y + 20 && y < 240 ? Math.abs(a - x) : 99) : Math.hypot(a - x, b - y);
        if (away < least) [best, least] = [mark, away];
      }
      if (best) tell(best); else leave();
    };
    svg.addEventListener("pointermove", nearest);
    svg.addEventListener("pointerdown", nearest);
    svg.addEventListener("pointerleave", leave);
    const go = (from, to) => {
      if (!to || to === from) return;
      from.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    };
    svg.addEventListener("keydown", (event) => {
      const from = event.target.closest(".mark");
      if (!from) return;
      if (event.key === "Escape") return leave();
      const [x, y] = at(from);
      const series = marks.filter((mark) => mark.dataset.s === from.dataset.s);
      const line = series.length > 1 ? series : [...marks].sort((a, b) => at(a)[0] - at(b)[0]);
      const next = {
        ArrowRight: () => line[line.indexOf(from) + 1],
        ArrowLeft: () => line[line.indexOf(from) - 1],
        ArrowUp: () => beside(-1),
        ArrowDown: () => beside(1),
        Home: () => line[0],
        End: () => line[line.length - 1],
      }[event.key];
      // up and down: of each other series the point nearest in x, and of these the next one in y
      const beside = (sign) => {
        const others = new Map();
        for (const mark of marks) {
          if (mark.dataset.s === from.dataset.s) continue;
          const known = others.get(mark.dataset.s);
          if (!known || Math.abs(at(mark)[0] - x) < Math.abs(at(known)[0] - x)) others.set(mark.dataset.s, mark);
        }
        const way = [...others.values()].filter((mark) => sign * (at(mark)[1] - y) > 0 || (at(mark)[1] === y && sign * (mark.dataset.s - from.dataset.s) > 0));
        return way.sort((a, b) => sign * (at(a)[1] - at(b)[1]))[0];
      };
      if (!next) return;
      event.preventDefault();
      go(from, next());
    });
    svg.addEventListener("focusin", (event) => {
      const mark = event.target.closest(".mark");
      if (mark) tell(mark);
    });
    svg.addEventListener("focusout", leave);
  }
  addEventListener("scroll", place, { passive: true });

  // a region that need not scroll is no stop of the tab key
  const regions = () => {
    for (const region of all(".scroll"))
      if (region.scrollWidth > region.clientWidth || region.scrollHeight > region.clientHeight) region.tabIndex = 0;
      else region.removeAttribute("tabindex");
  };
  regions();
  addEventListener("resize", regions);
  addEventListener("toggle", regions, true);
})();
