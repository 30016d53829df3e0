"use strict";
// Lines of one drawing become those of another one of the same layout; where a line stays, the style sheet moves it there.
const become = (stage, drawing) => {
  const from = [...stage.querySelectorAll(".dr-edge")];
  const to = [...drawing.querySelectorAll(".dr-edge")];
  from.forEach((edge, i) => {
    const paths = [...edge.querySelectorAll("path")];
    const others = [...to[i].querySelectorAll("path")];
    edge.setAttribute("style", to[i].getAttribute("style") || "");
    edge.querySelector("title").textContent = to[i].querySelector("title").textContent;
    paths.slice(others.length).forEach((path) => path.remove());
    others.forEach((other, k) => {
      if (!paths[k]) { edge.append(other.cloneNode(true)); return; }
      for (const name of ["d", "class", "style", "stroke", "stroke-width", "opacity"]) {
        const value = other.getAttribute(name);
        if (value === null) paths[k].removeAttribute(name); else paths[k].setAttribute(name, value);
      }
    });
  });
  stage.querySelectorAll(".dr-label").forEach((label) => label.remove());
  const labels = [...drawing.querySelectorAll(".dr-label")].map((label) => label.cloneNode(true));
  from[from.length - 1].after(...labels);
  for (const name of ["desc", "figcaption"]) stage.querySelector(name).textContent = drawing.querySelector(name).textContent;
};
// Called anew for what is put into a page later, as a page of a run that goes on does.
const enliven = (root) => {
  for (const box of root.querySelectorAll("[data-frames]")) {
    const frames = [...box.querySelectorAll(".frame")];
    const bar = box.querySelector(".slider");
    const input = bar.querySelector("input");
    const told = bar.querySelector("output");
    // The last one stays on the page and becomes each of the others.
    const stage = frames[frames.length - 1];
    const drawings = frames.map((frame) => frame === stage ? frame.cloneNode(true) : frame);
    const show = () => {
      const drawing = drawings[input.value];
      become(stage, drawing);
      told.textContent = stage.dataset.name = drawing.dataset.name;
      input.setAttribute("aria-valuetext", told.textContent);
    };
    input.addEventListener("input", show);
    frames.forEach((frame) => { frame.hidden = frame !== stage; });
    bar.hidden = false;
    show();
  }
  for (const group of root.querySelectorAll(".strips")) {
    const svg = group.closest("svg");
    if (svg.hasAttribute("tabindex")) continue;
    const strips = [...group.children];
    const told = document.createElement("p");
    told.className = "told";
    told.setAttribute("aria-live", "polite");
    svg.after(told);
    svg.setAttribute("tabindex", "0");
    let at = -1;
    const show = (i) => {
      if (i < 0 || i >= strips.length) return;
      if (at >= 0) strips[at].classList.remove("here");
      at = i;
      strips[at].classList.add("here");
      told.textContent = strips[at].textContent;
    };
    strips.forEach((strip, i) => strip.addEventListener("pointerenter", () => show(i)));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(at < 0 ? (step > 0 ? 0 : strips.length - 1) : at + step);
    });
  }
};
enliven(document);
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
