"use strict";
for (const box of document.querySelectorAll("[data-frames]")) {
  const frames = [...box.querySelectorAll(".frame")];
  const bar = box.querySelector(".slider");
  const input = bar.querySelector("input");
  const told = bar.querySelector("output");
  const show = () => {
    frames.forEach((frame, i) => { frame.hidden = i !== Number(input.value); });
    told.textContent = frames[input.value].dataset.name;
    input.setAttribute("aria-valuetext", told.textContent);
  };
  input.addEventListener("input", show);
  bar.hidden = false;
  show();
}
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
