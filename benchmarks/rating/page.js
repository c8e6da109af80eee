"use strict";
// Two videos that run together, a third one on top while it is asked for, one answer for each pair.
const $ = (id) => document.getElementById(id);
const left = $("left"), right = $("right");
const references = [$("reference-left"), $("reference-right")];
const all = [left, right, ...references];
const KEY = "lfqcodec-rater";
// Seconds. Videos that are further apart than NEAR run a little faster or slower; further than FAR they jump,
// which takes long in some browsers.
const NEAR = 0.005, FAR = 0.4, TICK = 0.1;
const STACKED = matchMedia("(orientation: portrait) and (max-width: 700px)");
let rater = null, trial = null, seen = false, busy = false, starts = 0, starting = false, refused = false;

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

function forget() {
  try { localStorage.removeItem(KEY); } catch { /* nothing was kept either */ }
}

function unnamed() {
  const number = crypto.getRandomValues(new Uint32Array(2));
  return `unnamed-${[...number].map((part) => part.toString(16).padStart(8, "0")).join("")}`;
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

function moved(video, time) {
  if (video.currentTime === time && !video.seeking && !video.ended) return Promise.resolve();
  return new Promise((done) => {
    video.addEventListener("seeked", done, { once: true });
    video.currentTime = time;
  });
}

// All videos wait for the slowest, then run.
async function together(time) {
  const own = ++starts;
  starting = true;
  for (const video of all) { video.pause(); video.playbackRate = 1; }
  const late = new Promise((done) => setTimeout(done, 3000));
  await Promise.race([late, Promise.all(all.map((video) => moved(video, time)))]);
  if (own !== starts) return;
  try {
    await Promise.all(all.map((video) => video.play()));
    refused = false;
    problem("");
  } catch (error) {
    // A phone that saves power starts no video by itself.
    refused = error.name === "NotAllowedError";
    if (refused) problem("Tap anywhere to start the videos");
  } finally {
    if (own === starts) starting = false;
  }
}

async function begin(state) {
  trial = state.trial || null;
  seen = false;
  // Until all are loaded, nothing else may start them.
  const own = ++starts;
  starting = true;
  left.onended = null;
  document.body.classList.remove("original");
  document.title = state.title;
  if (trial === null) {
    for (const video of all) { video.onerror = null; video.removeAttribute("src"); video.load(); }
    show("thanks");
    return;
  }
  $("question").textContent = state.question;
  $("progress").textContent = `${state.done + 1} of ${state.count}`;
  show("study");
  enable();
  await Promise.all([
    loaded(left, state.media.left), loaded(right, state.media.right),
    ...references.map((video) => loaded(video, state.media.reference)),
  ]);
  if (own !== starts) return;
  // The left video is the clock: when it ends, all begin again.
  left.onended = () => { seen = true; enable(); together(0); };
  await together(0);
}

async function choose(side) {
  if (busy || !seen || trial === null) return;
  busy = true;
  enable();
  let state;
  try {
    state = await ask("api/vote", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ rater, trial, side }),
    });
  } catch (error) {
    problem(`${error.message}. Please try again.`);
    return;
  } finally {
    busy = false;
    enable();
  }
  problem("");
  begin(state).catch((error) => problem(error.message));
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
  if (trial === null || starting || refused || document.hidden) return;
  // Nobody can pause; a browser may, when the page was hidden.
  if (left.paused || left.ended) { together(left.ended ? 0 : left.currentTime); return; }
  for (const video of [right, ...references]) {
    const behind = left.currentTime - video.currentTime;
    if (video.ended || video.seeking) continue;
    if (Math.abs(behind) > FAR) video.currentTime = left.currentTime;
    video.playbackRate = Math.abs(behind) < NEAR ? 1 : 1 + Math.max(-0.25, Math.min(0.25, behind / TICK / 2));
    if (video.paused) video.play().catch(() => {});
  }
}, TICK * 1000);

$("welcome").addEventListener("submit", (event) => { event.preventDefault(); enter($("name").value.trim() || unnamed()); });
$("another").addEventListener("click", () => { forget(); $("name").value = ""; show("welcome"); });
$("choose-left").addEventListener("click", () => choose("left"));
$("choose-right").addEventListener("click", () => choose("right"));
const hold = $("show-reference");
hold.addEventListener("pointerdown", (event) => { hold.setPointerCapture(event.pointerId); original(true); });
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) hold.addEventListener(name, () => original(false));
hold.addEventListener("contextmenu", (event) => event.preventDefault());
const KEYS = { ArrowLeft: "left", ArrowRight: "right", 1: "left", 2: "right" };
const STACKED_KEYS = { ArrowUp: "left", ArrowDown: "right" };
addEventListener("keydown", (event) => {
  if (trial === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const side = KEYS[event.key] || (STACKED.matches && STACKED_KEYS[event.key]);
  // Keys that pause players elsewhere do nothing: a button that has the focus would take the space bar for a vote.
  if (side || event.key === " " || event.key === "k" || event.key.startsWith("Media")) event.preventDefault();
  if (side && !event.repeat) choose(side);
  if (event.key === "r" || event.key === "R") original(true);
});
addEventListener("keyup", (event) => {
  if (trial !== null && event.key === " ") event.preventDefault();
  if (event.key === "r" || event.key === "R") original(false);
});
addEventListener("pointerup", () => {
  if (!refused) return;
  refused = false;
  // Right here: later it would not be the person who starts them.
  for (const video of all) video.play().catch(() => {});
  together(left.currentTime);
});
addEventListener("blur", () => original(false));

if (stored()) enter(stored()); else show("welcome");
