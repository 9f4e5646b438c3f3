// The page: shows the overview (overview.py), and the whole of it again whenever the daemon says that it has changed.
// Whatever a person said goes in by textContent. Lists are made in slices, so that thousands of rows block nothing.
// One script of four files: this one (times, the daemon), box.js, rows.js, live.js (http_page.py joins them).
"use strict";
const SLICE_MS = 10, TYPING_MS = 120, MOST_RECORDED_MS = 55_000, ALL = 10_000, AWAY_MS = 60_000,
  AGAIN_MS = 2000, PATIENCE_MS = 90_000;  // a recording of a minute takes its time to be heard
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
  "November", "December"];
const PARTS = { microphone: "Microphone", voice: "Voice", model: "Model", mqtt: "MQTT", calendar: "Calendar",
  phone: "Phone" };
const $ = (id) => document.getElementById(id);
const random = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (n) => n.toString(16).padStart(2, "0")).join("");
const channel = `page:${random()}`;
let now = { skew: 0, offset: 0 };  // of the daemon's clock from this machine's, and of its zone, in ms
let shown = null, limit = 0, undo = null, question = false;

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// Times: as the clock on the reminder's own wall shows them, wherever this browser is

const present = () => Date.now() + now.skew;

function setClock(iso) {
  const [, sign, h, m] = /([+-])(\d\d):(\d\d)$/.exec(iso);
  now = { skew: Date.parse(iso) - Date.now(), offset: (sign === "-" ? -1 : 1) * (h * 60 + +m) * 60_000 };
}

function wall(iso) {  // a Date whose UTC fields are those of the wall
  return new Date(iso.slice(0, 19) + "Z");
}

function daysAhead(iso) {
  const day = (date) => Math.floor(date.getTime() / 86_400_000);
  return day(wall(iso)) - day(new Date(present() + now.offset));
}

const clock = (iso) => iso.slice(11, 16);

function date(iso) {
  const d = wall(iso), year = d.getUTCFullYear();
  const other = year === new Date(present() + now.offset).getUTCFullYear() ? "" : ` ${year}`;
  return `${WEEKDAYS[d.getUTCDay()]} ${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}${other}`;
}

const full = (iso) => `${date(iso)}, ${clock(iso)}`;

function far(iso) {
  const ms = Date.parse(iso) - present(), s = Math.abs(ms) / 1000;
  const [n, unit] = s < 90 ? [s, "second"] : s < 5400 ? [s / 60, "minute"] : s < 172_800 ? [s / 3600, "hour"]
    : [s / 86_400, "day"];
  const told = `${Math.round(n)} ${unit}${Math.round(n) === 1 ? "" : "s"}`;
  return ms >= 0 ? `in ${told}` : `${told} ago`;
}

const task = (r) => r.task || "reminder";

// The daemon

class Told extends Error {}  // a sentence for the person

async function call(method, path, body, headers = { "Content-Type": "application/json" }, signal) {
  let answer, said;
  try {
    answer = await fetch(path, { method, headers, body, signal: signal ?? AbortSignal.timeout(PATIENCE_MS) });
    said = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Told("The assistant does not answer: try again when it runs.");
  }
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Told(said.error?.message ?? answer.statusText);
  return said;
}

const post = (path, body, signal) => call("POST", path, JSON.stringify(body), undefined, signal);

function answer(said, wrong = false) {
  $("answer").textContent = said;
  $("answer").classList.toggle("wrong", wrong);
}

async function act(what, back = "Undo") {  // something is done, its answer is shown, and it may be taken back
  try {
    const said = await what();
    answer(said.reply ?? "");
    if (said.undo) [undo, $("undo").textContent] = [said.undo, back];
    $("undo").hidden = !undo;
    refresh();
    return said;
  } catch (error) {
    answer(error.message, true);
    return null;
  }
}
