// Follows runs: when the server tells of news, the pieces of the page that have changed are fetched and put in place, without
// moving what the reader looks at.
(() => {
  const body = document.body;
  const pieces = document.getElementById("pieces");
  const said = document.getElementById("said");
  const link = document.getElementById("link");
  let saying = 0;
  const say = (text) => {
    said.textContent = text;
    clearTimeout(saying);
    saying = setTimeout(() => { said.textContent = ""; }, 8000);
  };

  // Light or dark stays as it was chosen.
  const root = document.documentElement;
  try {
    const chosen = sessionStorage.getItem("theme");
    if (chosen) root.dataset.theme = chosen;
    theme.addEventListener("click", () => sessionStorage.setItem("theme", root.dataset.theme));
  } catch { /* without storage it is chosen on each page */ }

  if (!pieces) return;

  // How long ago things were.
  const span = (s) => s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 129600 ? `${(s / 3600).toFixed(1)} h` : `${(s / 86400).toFixed(1)} d`;
  const count = () => {
    for (const at of document.querySelectorAll(".ago")) {
      const text = `${span(Math.max(0, Date.now() / 1000 - at.dataset.at))} ago`;
      if (at.textContent !== text) at.textContent = text;
    }
  };
  setInterval(count, 5000);

  // What the reader did to a piece.
  const keep = (piece) => ({
    open: [...piece.querySelectorAll("details")].map((d) => d.open),
    scrolled: [...piece.querySelectorAll(".table,.drawing")].map((e) => e.scrollLeft),
    sliders: [...piece.querySelectorAll("[data-frames] input[type=range]")].map((i) => ({
      last: i.value === i.max,
      name: i.closest("[data-frames]").querySelectorAll(".frame")[i.value]?.dataset.name,
      value: i.value,
    })),
    picked: new Set([...piece.querySelectorAll("input[name=pick]:checked")].map((i) => i.value)),
    focus: piece.contains(document.activeElement) ? path(document.activeElement, piece) : null,
  });
  const path = (element, top) => {
    const steps = [];
    for (let e = element; e !== top; e = e.parentElement) steps.unshift([...e.parentElement.children].indexOf(e));
    return { steps, value: element.value, href: element.getAttribute("href") };
  };
  const follow = (top, { steps, value, href }) => {
    if (value) {
      const same = [...top.querySelectorAll("input")].find((i) => i.type === "checkbox" && i.value === value);
      if (same) return same;
    }
    if (href) {
      const same = [...top.querySelectorAll("a")].find((a) => a.getAttribute("href") === href);
      if (same) return same;
    }
    let e = top;
    for (const i of steps) e = e?.children[i];
    return e;
  };
  const restore = (piece, kept) => {
    const details = piece.querySelectorAll("details");
    if (details.length === kept.open.length) details.forEach((d, i) => { d.open = kept.open[i]; });
    piece.querySelectorAll(".table,.drawing").forEach((e, i) => { e.scrollLeft = kept.scrolled[i] ?? 0; });
    piece.querySelectorAll("[data-frames] input[type=range]").forEach((input, i) => {
      const was = kept.sliders[i];
      if (!was || was.last) return;
      const frames = [...input.closest("[data-frames]").querySelectorAll(".frame")];
      const at = frames.findIndex((f) => f.dataset.name === was.name);
      input.value = at >= 0 ? at : was.value;
      input.dispatchEvent(new Event("input"));
    });
    for (const input of piece.querySelectorAll("input[name=pick]")) input.checked = kept.picked.has(input.value);
    if (kept.focus) follow(piece, kept.focus)?.focus({ preventScroll: true });
  };

  // The first piece that is seen stays where it is on the screen.
  const anchor = () => {
    for (const piece of pieces.children) {
      const box = piece.getBoundingClientRect();
      if (box.bottom > 0) return [piece.dataset.piece, box.top];
    }
    return null;
  };
  const find = (id) => [...pieces.children].find((piece) => piece.dataset.piece === id);

  // Puts a list in order; other pages have none.
  let arrange = () => {};

  const put = (news) => {
    document.title = `${news.title} · archai`;
    const held = window.scrollY > 0 ? anchor() : null;
    for (const old of [...pieces.children]) {
      if (!news.pieces.some((piece) => piece.id === old.dataset.piece)) old.remove();
    }
    let before = null;
    for (const { id, hash, html } of news.pieces) {
      let piece = find(id);
      if (!piece) {
        piece = document.createElement("section");
        piece.id = id;
        piece.dataset.piece = id;
        pieces.insertBefore(piece, before ? before.nextSibling : pieces.firstChild);
      }
      before = piece;
      if (html === undefined || piece.dataset.hash === hash) continue;
      const kept = keep(piece);
      piece.innerHTML = html;
      piece.dataset.hash = hash;
      enliven(piece);
      restore(piece, kept);
    }
    if (held) {
      const piece = find(held[0]);
      if (piece) window.scrollBy({ top: piece.getBoundingClientRect().top - held[1], behavior: "instant" });
    }
    count();
    arrange();
  };

  // Fetching, one at a time, and not while something is dragged.
  let fetching = false, again = false, dragging = false, state = null;
  addEventListener("pointerdown", (e) => { dragging = e.target.matches?.("input[type=range]"); });
  addEventListener("pointerup", () => { dragging = false; if (again) refresh(); });
  addEventListener("pointercancel", () => { dragging = false; });
  const refresh = async () => {
    if (fetching || dragging) { again = true; return; }
    [fetching, again] = [true, false];
    try {
      const have = [...pieces.children].map((piece) => piece.dataset.hash).join(",");
      const source = body.dataset.source;
      const answer = await fetch(`${source}${source.includes("?") ? "&" : "?"}have=${have}`, { cache: "no-store" });
      if (answer.ok) {
        put(await answer.json());
        const now = document.querySelector(".now .state")?.textContent;
        if (now && state && now !== state) say(`The run is ${now} now.`);
        state = now;
      } else if (answer.status === 404) say("The run is not there any more.");
    } catch { /* the stream tells that the server is gone */ }
    fetching = false;
    if (again) setTimeout(refresh, 150);
  };

  // News. A page that nobody sees needs none.
  let stream = null, retry = 0;
  const tell = (text, lost) => { link.textContent = text; link.classList.toggle("lost", lost); };
  const listen = () => {
    clearTimeout(retry);
    stream?.close();
    stream = new EventSource(body.dataset.feed);
    stream.onopen = () => tell("live", false);
    stream.onmessage = () => { tell("live", false); refresh(); };
    stream.onerror = () => {
      tell("the server has gone; archai watch shows the runs again", true);
      if (stream.readyState === EventSource.CLOSED) retry = setTimeout(listen, 3000);
    };
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream?.close(); stream = null; clearTimeout(retry); tell("paused", false); } else listen();
  });
  addEventListener("pagehide", () => stream?.close());
  addEventListener("pageshow", (e) => { if (e.persisted) listen(); });
  state = document.querySelector(".now .state")?.textContent;
  if (!document.hidden) listen();

  // Stopping.
  const ask = (button) => {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "ask");
    dialog.innerHTML = '<p id="ask"><strong>Stop this run after its present step?</strong></p><p>Everything so far is kept. ' +
      "<code>archai resume</code> goes on where it stopped.</p>" +
      '<div class="row"><button type="button" value="no">Go on</button><button type="button" class="stop" value="yes">Stop it</button></div>';
    body.append(dialog);
    dialog.addEventListener("close", () => { dialog.remove(); button.focus(); });
    dialog.addEventListener("click", async (e) => {
      if (!e.target.value) return;
      dialog.close();
      if (e.target.value !== "yes") return;
      button.disabled = true;
      try {
        const answer = await fetch(button.dataset.stop, { method: "POST", headers: { "X-Archai": "stop" } });
        const text = answer.headers.get("content-type") === "application/json" ? (await answer.json()).said : "It was refused.";
        say(`${text[0].toUpperCase()}${text.slice(1)}.`);
      } catch { say("The server does not answer."); }
      button.disabled = false;
      refresh();
    });
    dialog.showModal();
  };
  pieces.addEventListener("click", (e) => {
    const stop = e.target.closest("[data-stop]");
    if (stop) ask(stop);
  });

  // The list: filter, order, comparison.
  const filter = document.getElementById("filter");
  if (!filter) return;
  const wanted = document.getElementById("state");
  const compare = document.getElementById("compare");
  const shown = document.getElementById("shown");
  let order = null, way = 1;
  arrange = () => {
    const rows = [...pieces.querySelectorAll("tbody tr")];
    const text = filter.value.trim().toLowerCase();
    let n = 0;
    for (const row of rows) {
      const told = [...row.querySelectorAll("[data-key=name],[data-key=algorithm],[data-key=dataset]")].map((c) => c.dataset.v.toLowerCase());
      row.hidden = (wanted.value && row.dataset.state !== wanted.value) || !told.some((v) => v.includes(text));
      if (!row.hidden) n += 1;
    }
    shown.textContent = rows.length ? `${n} of ${rows.length} runs` : "";
    if (order) {
      const of = (row) => row.querySelector(`[data-key=${order}]`).dataset.v;
      const isNumber = ["share", "top1", "left", "seed", "changed"].includes(order);
      rows.sort((a, b) => {
        const [x, y] = [of(a), of(b)];
        if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);
        return way * (isNumber ? x - y : x.localeCompare(y, "en", { numeric: true }));
      });
      const list = rows[0]?.parentElement;
      if (list && rows.some((row, i) => list.children[i] !== row)) list.append(...rows);
    }
    for (const button of pieces.querySelectorAll("[data-sort]")) {
      const th = button.closest("th");
      if (button.dataset.sort === order) th.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    }
    const picked = pieces.querySelectorAll("input[name=pick]:checked").length;
    compare.disabled = picked < 2;
    compare.textContent = picked ? `Compare ${picked} runs` : "Compare";
    if (new URLSearchParams(location.search).has("now")) {
      const going = rows.find((row) => ["running", "waiting"].includes(row.dataset.state));
      if (going) location.replace(going.dataset.href);
    }
  };
  filter.addEventListener("input", arrange);
  wanted.addEventListener("change", arrange);
  pieces.addEventListener("change", arrange);
  pieces.addEventListener("click", (e) => {
    const key = e.target.closest("[data-sort]")?.dataset.sort;
    if (!key) return;
    [order, way] = key === order ? [order, -way] : [key, ["top1", "share", "changed"].includes(key) ? -1 : 1];
    arrange();
  });
  compare.addEventListener("click", () => {
    const ids = [...pieces.querySelectorAll("input[name=pick]:checked")].map((i) => i.value);
    location.href = `/compare?runs=${ids.join(",")}`;
  });
  arrange();
})();
