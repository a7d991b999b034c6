// Keys press the links and buttons that name them; everything else is the server's. No library, nothing is evaluated.
"use strict";

const find = document.querySelector("#find");
const typing = (element) => element.matches("input, select, textarea");

// --- keys ---

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/" && find) {
    event.preventDefault();
    find.focus();
    find.select();
  } else if (event.key === "o") {
    for (const details of document.querySelectorAll("details.reasoning")) details.open = !details.open;
  } else if (event.key === "n" || event.key === "p") {
    go(event.key === "n" ? 1 : -1);
  } else {
    const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!target) return;
    event.preventDefault();
    if (target.href && document.body.matches(".open")) location.replace(target.href); // Back leads to the list
    else target.click();
  }
});

// --- the form of filters: what is chosen is shown at once, what is empty is left out of the address ---

const filters = document.querySelector("#filters");
filters.addEventListener("change", () => filters.requestSubmit());
filters.addEventListener("submit", () => {
  for (const field of filters.elements) if (field.value === "" || field.value === "order") field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of filters.elements) field.disabled = false;
});
document.querySelector("li[aria-current]")?.scrollIntoView({ block: "nearest" });

// --- reasoning stays open from row to row, if it was opened ---

for (const details of document.querySelectorAll("details[data-keep]")) {
  const key = details.dataset.keep;
  details.open = sessionStorage.getItem(key) === "open";
  details.addEventListener("toggle", () => sessionStorage.setItem(key, details.open ? "open" : "closed"));
}

// --- marks: the hits of a search where there is one, else the evidence ---

let hits = [];
let place = -1;

function search(words) {
  hits = [];
  place = -1;
  const wanted = words.toLowerCase();
  for (const text of wanted ? document.querySelectorAll("article .text") : []) {
    const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const said = node.data.toLowerCase();
      for (let at = said.indexOf(wanted); at >= 0; at = said.indexOf(wanted, at + wanted.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, Math.min(at + wanted.length, node.length));
        hits.push(range);
      }
    }
  }
  CSS.highlights?.set("found", new Highlight(...hits));
  CSS.highlights?.delete("here");
  document.querySelector("#hits").textContent = wanted ? `${hits.length} found` : "";
}

function go(step) {
  const marks = find?.value ? hits : [...document.querySelectorAll("article .text mark")];
  if (!marks.length) return;
  place = (place + step + marks.length) % marks.length;
  const mark = marks[place];
  const element = mark.startContainer?.parentElement ?? mark;
  const details = element.closest("details");
  if (details) details.open = true;
  element.scrollIntoView({ block: "center" });
  const range = mark instanceof Range ? mark : new Range();
  if (range !== mark) range.selectNodeContents(mark);
  CSS.highlights?.set("here", new Highlight(range));
  document.querySelector("#hits").textContent = `${place + 1} of ${marks.length}`;
}

find?.addEventListener("input", () => search(find.value));
find?.addEventListener("keydown", (event) => {
  if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
});
