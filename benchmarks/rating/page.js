"use strict";
// Two videos that run together, a third one on top while it is asked for, one answer for each pair.
const $ = (id) => document.getElementById(id);
const left = $("left"), right = $("right");
const references = [$("reference-left"), $("reference-right")];
const all = [left, right, ...references];
const KEY = "lfqcodec-rater";
// Half a frame at 25 frames/s: further apart than this is seen.
const APART = 0.02;
let rater = null, trial = null, seen = false, busy = false;

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function show(id) {
  for (const part of ["welcome", "study", "thanks"]) $(part).hidden = part !== id;
}

function stored() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || "the server refused");
  return body;
}

function enable() {
  const ready = seen && !busy && trial !== null;
  $("choose-left").disabled = $("choose-right").disabled = !ready;
  $("shown").textContent = document.body.classList.contains("original")
    ? "This is the original" : ready || busy ? "" : "Watch to the end once, then choose";
}

function loaded(video, source) {
  return new Promise((done, failed) => {
    video.oncanplaythrough = () => done();
    video.onerror = () => failed(new Error("a video cannot be played in this browser"));
    video.src = source;
    video.load();
  });
}

async function together(time) {
  for (const video of all) video.currentTime = time;
  await Promise.all(all.map((video) => video.play()));
}

async function begin(state) {
  trial = state.trial || null;
  seen = false;
  document.body.classList.remove("original");
  document.title = state.title;
  if (trial === null) {
    for (const video of all) { video.onended = null; video.removeAttribute("src"); video.load(); }
    show("thanks");
    return;
  }
  $("question").textContent = state.question;
  $("progress").textContent = `${state.done + 1} of ${state.count}`;
  show("study");
  enable();
  const current = trial;
  await Promise.all([
    loaded(left, state.media.left), loaded(right, state.media.right),
    ...references.map((video) => loaded(video, state.media.reference)),
  ]);
  if (current !== trial) return;
  // The left video is the clock: when it ends, all begin again.
  left.onended = () => { seen = true; enable(); together(0).catch(() => {}); };
  await together(0);
}

async function choose(side) {
  if (busy || !seen || trial === null) return;
  busy = true;
  enable();
  try {
    const state = await ask("api/vote", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ rater, trial, side }),
    });
    problem("");
    busy = false;
    await begin(state);
  } catch (error) {
    problem(`${error.message}. Please try again.`);
  } finally {
    busy = false;
    enable();
  }
}

function original(on) {
  document.body.classList.toggle("original", on && trial !== null);
  enable();
}

async function enter(name) {
  rater = name;
  try {
    const state = await ask(`api/state?rater=${encodeURIComponent(name)}`);
    try { localStorage.setItem(KEY, name); } catch { /* private windows may refuse; the study works without */ }
    problem("");
    await begin(state);
  } catch (error) {
    problem(error.message);
    if (trial === null) show("welcome");
  }
}

setInterval(() => {
  if (trial === null || left.paused) {
    // Nobody can pause; a browser may, when the page was hidden.
    if (trial !== null && left.readyState >= 3 && !document.hidden && !left.ended) together(left.currentTime).catch(() => {});
    return;
  }
  for (const video of [right, ...references]) {
    if (Math.abs(video.currentTime - left.currentTime) > APART) video.currentTime = left.currentTime;
    if (video.paused && !video.ended) video.play().catch(() => {});
  }
}, 250);

$("welcome").addEventListener("submit", (event) => { event.preventDefault(); enter($("name").value.trim()); });
$("choose-left").addEventListener("click", () => choose("left"));
$("choose-right").addEventListener("click", () => choose("right"));
const hold = $("show-reference");
hold.addEventListener("pointerdown", (event) => { hold.setPointerCapture(event.pointerId); original(true); });
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) hold.addEventListener(name, () => original(false));
hold.addEventListener("contextmenu", (event) => event.preventDefault());
addEventListener("keydown", (event) => {
  if (trial === null || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft" || event.key === "1") choose("left");
  else if (event.key === "ArrowRight" || event.key === "2") choose("right");
  else if (event.key === "r" || event.key === "R") original(true);
  else if (event.key.startsWith("Media")) event.preventDefault();
});
addEventListener("keyup", (event) => { if (event.key === "r" || event.key === "R") original(false); });
addEventListener("blur", () => original(false));

if (stored()) enter(stored()); else show("welcome");
