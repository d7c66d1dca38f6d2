// The search of the documentation. It reads search/search_index.json, which is built with the pages, at the first word.
"use strict";

const MOST = 12;
const AROUND = 70; // characters of the text that are shown on each side of the first hit

const box = document.querySelector(".search");
const input = box.querySelector("input");
const found = box.querySelector("#found");
const root = new URL(".", document.querySelector('script[src$="search.js"]').src);
let index = null;

box.hidden = false;

function words(text) {
  return text.toLowerCase().match(/[\p{L}\p{N}]+(?:[-_.][\p{L}\p{N}]+)*/gu) || [];
}

async function load() {
  const reply = await fetch(new URL("search/search_index.json", root));
  const { docs } = await reply.json();
  return docs.map((doc) => ({ ...doc, title: plain(doc.title), text: plain(doc.text) })).map((doc) => ({
    ...doc,
    lowerTitle: doc.title.toLowerCase(),
    lowerText: doc.text.toLowerCase(),
  }));
}

// The index has the texts of HTML, with their entities.
function plain(html) {
  return new DOMParser().parseFromString(html, "text/html").body.textContent;
}

// A section must have every word. A word in its title counts more than one in its text.
function score(doc, asked) {
  let sum = 0;
  for (const word of asked) {
    const inTitle = doc.lowerTitle.includes(word);
    const times = doc.lowerText.split(word).length - 1;
    if (!inTitle && !times) return 0;
    sum += (inTitle ? 20 : 0) + Math.min(times, 5);
  }
  return sum;
}

function excerpt(doc, asked) {
  const places = asked.map((word) => doc.lowerText.indexOf(word)).filter((place) => place >= 0);
  const first = places.length ? Math.min(...places) : 0;
  const start = Math.max(first - AROUND, 0);
  const text = doc.text.slice(start, first + 2 * AROUND);
  return (start ? "... " : "") + text.trim() + " ...";
}

// Appends the text, with the words in <mark>.
function marked(element, text, asked) {
  const lower = text.toLowerCase();
  let done = 0;
  while (done < text.length) {
    const hits = asked.map((word) => [lower.indexOf(word, done), word]).filter(([place]) => place >= 0);
    if (!hits.length) break;
    const [place, word] = hits.sort((a, b) => a[0] - b[0])[0];
    element.append(text.slice(done, place));
    const mark = document.createElement("mark");
    mark.textContent = text.slice(place, place + word.length);
    element.append(mark);
    done = place + word.length;
  }
  element.append(text.slice(done));
}

function show(results, asked) {
  found.replaceChildren();
  found.hidden = false;
  for (const doc of results) {
    const link = document.createElement("a");
    link.href = new URL(doc.location, root);
    const title = document.createElement("b");
    title.textContent = doc.title;
    const text = document.createElement("small");
    marked(text, excerpt(doc, asked), asked);
    link.append(title, text);
    found.append(link);
  }
  if (!results.length) {
    const nothing = document.createElement("p");
    nothing.textContent = "Nothing was found.";
    found.append(nothing);
  }
}

async function search() {
  const typed = input.value;
  const asked = words(typed);
  if (!asked.length) {
    found.hidden = true;
    return;
  }
  index ??= load();
  const docs = await index;
  if (input.value !== typed) return; // somebody has typed on
  const scored = docs.map((doc) => [score(doc, asked), doc]).filter(([points]) => points);
  show(scored.sort((a, b) => b[0] - a[0]).slice(0, MOST).map(([, doc]) => doc), asked);
}

input.addEventListener("input", search);
input.addEventListener("focus", search);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") found.hidden = true;
});
document.addEventListener("click", (event) => {
  if (!box.contains(event.target) || event.target.closest("#found a")) found.hidden = true;
});
