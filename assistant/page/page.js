// The page: shows the overview (overview.py), and the whole of it again whenever the daemon says that it has changed.
// Whatever a person said goes in by textContent. Lists are made in slices, so that thousands of rows block nothing.
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

// The box

let asking = null, typed = 0, sending = { text: "", id: "" };

function told(u) {
  const lines = u.reminders.map((r) => {
    const parts = [r.task || "reminder"];
    if (r.past) parts.push(`${full(r.due)} has passed`);
    else if (r.due) parts.push(full(r.due), r.rrule ? r.when : far(r.due));
    else parts.push("when?");
    return parts.join(" - ");
  });
  const which = u.target ? [u.target.quantifier, u.target.words, u.target.range].filter(Boolean).join(" ") : "";
  switch (u.kind) {
    case "create": return [lines.join("\n"), "sure"];
    case "confirm": return [`${lines.join("\n")} - it will ask first`, ""];
    case "needs_time": return [lines.join("\n"), ""];
    case "list": return [`Shows what there is: ${which || "all"}`, ""];
    case "other": return [question ? "" : "That is not a reminder.", ""];
    default: {
      const to = u.shift_minutes ? `${Math.abs(u.shift_minutes)} minutes ${u.shift_minutes > 0 ? "later" : "earlier"}`
        : u.reminders[0]?.due ? full(u.reminders[0].due) : "";
      return [[`${u.kind[0].toUpperCase()}${u.kind.slice(1)}: ${which || "the one meant"}`, to].filter(Boolean).join(" - "), ""];
    }
  }
}

function preview(said, kind = "") {
  $("preview").textContent = said;
  $("preview").className = kind;
}

function typing() {
  clearTimeout(typed);
  asking?.abort();
  const text = $("said").value.trim();
  if (!text) return preview("");
  typed = setTimeout(async () => {
    asking = new AbortController();
    try {
      preview(...told(await post("/predict", { text }, asking.signal)));
    } catch (error) {
      if (error.name !== "AbortError") preview(error.message, "wrong");
    }
  }, TYPING_MS);
}

function ask(said) {  // an answer with a question is answered in the box
  question = said.question;
  $("said-label").textContent = question ? said.reply : "What should I remind you of, and when?";
}

function sent(said) {
  if (!said) return;
  sending = { text: "", id: "" };
  ask(said);
}

async function say(event) {
  event.preventDefault();
  const text = $("said").value.trim();
  if (!text) return $("said").focus();
  clearTimeout(typed);
  asking?.abort();
  if (sending.text !== text) sending = { text, id: random() };  // tried again it is the same request
  $("set").disabled = true;
  const said = await act(() => post("/requests", { text, channel, id: sending.id }));
  $("set").disabled = false;
  if (said) {
    if ($("said").value.trim() === text) $("said").value = "";
    preview("");
  }
  sent(said);
}

// Speaking into the page

let recording = null;

async function record() {
  if (recording) return recording.stop();
  recording = { stop() {} };  // until it has begun
  let stream, context;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    context = new AudioContext();
    await context.audioWorklet.addModule("/page/recorder.js");
  } catch (error) {
    stream?.getTracks().forEach((track) => track.stop());
    recording = null;
    return answer(error.name === "NotAllowedError" ? "The browser may not use the microphone: allow it for this page."
      : `The microphone cannot be used: ${error.message}`, true);
  }
  const blocks = [], node = new AudioWorkletNode(context, "recorder");
  node.port.onmessage = (message) => blocks.push(message.data);
  context.createMediaStreamSource(stream).connect(node).connect(context.destination);
  const began = Date.now(), length = setInterval(() => {
    $("record").textContent = `Stop and send (${Math.floor((Date.now() - began) / 1000)} s)`;
    if (Date.now() - began > MOST_RECORDED_MS) recording?.stop();
  }, 500);
  $("record").textContent = "Stop and send";
  answer("Speak now.");
  recording.stop = async () => {
    clearInterval(length);
    recording = null;
    stream.getTracks().forEach((track) => track.stop());
    const sound = wav(blocks, context.sampleRate);
    await context.close();
    $("record").textContent = "Speak";
    $("record").disabled = true;
    answer("It is being heard ...");
    const said = await act(() => call("POST", `/requests?channel=${channel}`, sound,
      { "Content-Type": "audio/wav", "X-Request-Id": random() }));
    $("record").disabled = false;
    if (said) answer(`“${said.heard}” - ${said.reply}`);
    if (said?.kind === "unsure") {  // it is not believed: whoever knows it to be right sends it
      $("said").value = said.heard;
      typing();
    } else sent(said);
    $("said").focus();
  };
}

function wav(blocks, rate) {  // RIFF, 16 bits, one channel
  const count = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, said) => [...said].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true);
  view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(at, Math.max(-1, Math.min(1, sample)) * 32_767, true);
      at += 2;
    }
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}

// Rows

function button(act, label, about) {
  return element("button", { type: "button", "data-act": act, "aria-label": `${label}: ${about}` }, label);
}

function row(r, how) {
  const words = task(r), when = how === "missed" ? r.last : r.due;
  const time = element("time", { class: "when", dateTime: when ?? "" });
  const made = element("li", { tabIndex: -1, "data-id": r.id }, element("span", { class: "what" }, words), time);
  if (when) {
    time.textContent = how === "today" || how === "ringing" ? clock(when) : full(when);
    if (how === "ringing" && daysAhead(when)) time.textContent = full(when);
    made.append(element("span", { class: "far", "data-at": when }, far(when)));
  }
  if (r.repeats) made.append(element("span", { class: "small" }, r.repeats));
  if (r.begins) made.append(element("span", { class: "small" }, `begins at ${clock(r.begins)}`));
  if (r.times > 1) made.append(element("span", { class: "small" }, `${r.times} times`));
  const acts = element("div", { class: "acts" });
  if (how !== "recurring") acts.append(button("done", "Done", words));
  if (how !== "recurring") acts.append(button("snooze", how === "missed" ? "Again in 10 minutes" : "Snooze", words));
  acts.append(button("edit", "Another time", words));
  if (how !== "missed") acts.append(button("cancel", r.rrule ? "Cancel for good" : "Cancel", words));
  made.append(acts);
  return made;
}

function requestRow(q) {
  const made = element("li", { tabIndex: -1 }, element("span", { class: "what" }, `“${q.text}”`),
    element("span", { class: "far", "data-at": q.said_at }, far(q.said_at)));
  const line = (name, said) => made.append(element("div", { class: `line ${name}` }, said));
  const acts = element("div", { class: "acts" });
  if (q.rewrite) acts.append(element("code", {}, q.rewrite.replaceAll("\n", "; ")));
  if (q.correction) line("small", `Put right: ${q.correction.should}`);
  if (q.reply) line(q.error ? "small wrong" : "small", q.reply);
  else line("small", "It waits until it can be understood.");
  if (q.rewrite && q.reply) acts.append(button("wrong", "That's wrong", q.text));
  made.append(acts);
  return made;
}

const pause = () => new Promise((done) => {  // until what there is so far has been painted
  if (document.hidden) setTimeout(done);
  else requestAnimationFrame(() => setTimeout(done));
});
let turn = 0;

async function fill(list, items, keyOf, make, mine) {
  const rows = (list.rows ??= new Map()), wanted = new Set(items.map(keyOf));
  for (const [key, old] of rows) {
    if (wanted.has(key)) continue;
    const next = old.contains(document.activeElement) && (old.nextElementSibling ?? old.previousElementSibling);
    rows.delete(key);
    old.remove();
    if (next !== false) (next ?? $("said")).focus();
  }
  let at = list.firstElementChild, began = performance.now();
  for (const item of items) {
    if (performance.now() - began > SLICE_MS) {
      await pause();
      if (mine !== turn) return;  // there is something newer to show
      began = performance.now();
    }
    const key = keyOf(item), text = JSON.stringify(item);
    let one = rows.get(key);
    if (one && one.text !== text && !one.querySelector("form")) {
      const focus = one.contains(document.activeElement) && (document.activeElement.dataset.act ?? "");
      if (at === one) at = one.nextElementSibling;
      const fresh = make(item);
      one.replaceWith(fresh);
      if (at !== fresh.nextElementSibling) list.insertBefore(fresh, at);
      if (focus !== false) (fresh.querySelector(`[data-act="${focus}"]`) ?? fresh).focus();
      one = fresh;
    } else if (one === at && at) {
      at = at.nextElementSibling;
    } else {
      one ??= make(item);
      const focus = one.contains(document.activeElement) && document.activeElement;
      list.insertBefore(one, at);
      if (focus) focus.focus();
    }
    one.text ??= text;
    if (!one.querySelector("form")) one.text = text;
    one.item = item;
    rows.set(key, one);
  }
}

// The whole

async function show(overview) {
  const mine = ++turn;
  shown = overview;
  if (events?.readyState === EventSource.OPEN) link("Live");
  setClock(overview.now);
  announce(overview.ringing);
  const list = (id) => $(id).querySelector("ul");
  const lists = {
    ringing: overview.ringing, missed: overview.missed,
    today: overview.upcoming.filter((r) => daysAhead(r.due) <= 0),
    later: overview.upcoming.filter((r) => daysAhead(r.due) > 0 && !r.rrule), recurring: overview.recurring,
  };
  for (const id of ["ringing", "missed", "recurring"]) $(id).hidden = !lists[id].length;
  const more = overview.pending - overview.upcoming.length;
  $("all").hidden = more <= 0 || limit === ALL;
  $("all").textContent = `Show all ${overview.pending}`;
  $("mute").hidden = overview.muted === null;
  $("mute").setAttribute("aria-pressed", overview.muted === true);
  $("record").hidden = overview.muted === null || !navigator.mediaDevices?.getUserMedia || !globalThis.AudioWorkletNode;
  const states = overview.states.flatMap((s) =>
    [element("dt", {}, PARTS[s.part] ?? s.part), element("dd", { class: s.state }, s.says)]);
  if (JSON.stringify(overview.states) !== $("states").text) {
    $("states").text = JSON.stringify(overview.states);
    $("states").querySelector("dl").replaceChildren(...states);
  }
  chart(overview.days);
  const byRing = (r) => (r.delivery ? `${r.delivery}.${r.ring}` : r.id);
  for (const [id, items] of Object.entries(lists)) {
    await fill(list(id), items, byRing, (r) => row(r, id), mine);
    if (mine !== turn) return;
  }
  await fill(list("requests"), overview.requests, (q) => q.id, requestRow, mine);
}

const announced = new Set();

function announce(ringing) {
  const fresh = ringing.filter((r) => !announced.has(`${r.delivery}.${r.ring}`));
  for (const r of fresh) announced.add(`${r.delivery}.${r.ring}`);
  if (fresh.length) $("alert").textContent = `Ringing: ${fresh.map(task).join("; ")}`;
  document.title = ringing.length ? `(${ringing.length}) ${task(ringing[0])} - Reminders` : "Reminders";
}

const KINDS = { set: "set", on_time: "on time", late: "late", missed: "missed" };

function chart(days) {
  const text = JSON.stringify(days);
  if ($("chart").text === text) return;
  $("chart").text = text;
  const most = Math.max(4, ...days.map((d) => Math.max(d.set, d.on_time + d.late + d.missed)));
  const svg = (name, properties) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
    return made;
  };
  const sums = Object.entries(KINDS).map(([kind, says]) => [kind, `${days.reduce((n, d) => n + d[kind], 0)} ${says}`]);
  const picture = svg("svg", { viewBox: "0 0 300 70", preserveAspectRatio: "none", role: "img",
    "aria-label": `The last ${days.length} days: ${sums.map(([, said]) => said).join(", ")}` });
  days.forEach((d, i) => {
    const bar = (kind, x, below) => {
      const height = (d[kind] / most) * 66;
      if (height) picture.append(svg("rect", { class: kind, x, y: 68 - below - height, width: 4, height }));
      return below + height;
    };
    bar("set", i * 10, 0);
    bar("missed", i * 10 + 4.5, bar("late", i * 10 + 4.5, bar("on_time", i * 10 + 4.5, 0)));
  });
  picture.append(svg("line", { class: "axis", x1: 0, x2: 300, y1: 68.5, y2: 68.5 }));
  $("chart").replaceChildren(picture);
  $("sum").replaceChildren(...sums.map(([kind, said]) => element("span", { class: kind }, said)));
  $("days").querySelector("tbody").replaceChildren(...days.toReversed().map((d) => element("tr", {},
    element("th", { scope: "row" }, date(`${d.day}T00:00:00`)),
    ...Object.keys(KINDS).map((kind) => element("td", {}, String(d[kind]))))));
}

let busy = false, again = false, later = 0;

async function refresh() {
  clearTimeout(later);
  if (busy) { again = true; return; }
  busy = true;
  do {
    again = false;
    try {
      await show(await call("GET", `/overview${limit ? `?limit=${limit}` : ""}`));
    } catch (error) {
      link(error.message, true);
      later = setTimeout(refresh, AGAIN_MS);
      if (!(error instanceof Told)) reportError(error);  // a bug
    }
  } while (again);
  busy = false;
}

// Live

let events = null, left = 0;

function link(says, broken = false) {
  if ($("link").textContent !== says) $("link").textContent = says;
  $("link").classList.toggle("broken", broken);
}

function connect() {
  events?.close();
  events = new EventSource("/events");
  events.addEventListener("changed", (event) => {
    link("Live");
    if (JSON.parse(event.data).change !== shown?.change) refresh();
  });
  events.addEventListener("alive", (event) => {
    link("Live");
    setClock(JSON.parse(event.data).now);
  });
  const mine = events;
  events.onerror = () => {
    link("The assistant does not answer: waiting for it.", true);
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === events && connect(), AGAIN_MS);
  };
}

document.addEventListener("visibilitychange", () => {  // a browser has few connections, and hidden pages need none
  clearTimeout(left);
  if (document.hidden) left = setTimeout(() => { events?.close(); events = null; }, AWAY_MS);
  else if (!events) connect();
});

let day = 0;
setInterval(async () => {
  const today = Math.floor((present() + now.offset) / 86_400_000);
  if (day && today !== day) refresh();
  day = today;
  let n = 0;
  for (const one of document.querySelectorAll("[data-at]")) {
    if (++n % 500 === 0) await pause();
    const says = far(one.dataset.at);
    if (one.textContent !== says) one.textContent = says;
  }
}, 20_000);

// What is done to a row

const ACTS = {
  done: (r) => act(() => post(`/reminders/${r.id}/done`, {})),
  snooze: (r) => act(() => post(`/reminders/${r.id}/snooze`, {})),
  cancel: (r) => act(() => call("DELETE", `/reminders/${r.id}`)),
  edit: (r, one) => form(one, `Another time for ${task(r)}`, "", "Move", "friday at six", async (text, says) => {
    const to = await post(`/reminders/${r.id}/preview`, { text });
    says(`${full(to.due)} - ${to.repeats ?? far(to.due)}${to.apart ? " - this time only" : ""}`);
    return to;
  }, (to) => post(`/reminders/${r.id}/move`, { when: to.when })),
  wrong: (q, one) => form(one, "What it should have understood, task | time", q.correction?.should ?? q.rewrite ?? "", "Save", "",
    async (text) => text, (rewrite) => post("/corrections", { text: q.text, rewrite })),
};

function form(one, label, value, does, hint, look, send) {
  const back = one.querySelector("form");
  if (back) return back.querySelector("input").focus();
  const id = `edit-${random()}`, says = element("p", { role: "status" });
  const input = element("input", { type: "text", id, value: value.replaceAll("\n", " ; "), maxLength: 500, placeholder: hint });
  const made = element("form", {}, element("label", { htmlFor: id }, label), input,
    element("button", { type: "submit", class: "main" }, does), element("button", { type: "button" }, "Close"), says);
  const tell = (said, wrong = false) => { says.textContent = said; says.classList.toggle("wrong", wrong); };
  const close = () => { made.remove(); one.text = ""; one.focus(); };
  const lines = () => input.value.trim().replaceAll(" ; ", "\n");
  let wait = 0, count = 0;
  input.addEventListener("input", () => {
    clearTimeout(wait);
    const mine = ++count;
    tell("");
    if (!input.value.trim()) return;
    wait = setTimeout(() => look(lines(), (said) => mine === count && tell(said))
      .catch((error) => mine === count && tell(error.message, true)), TYPING_MS);
  });
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(wait);
    ++count;
    if (!lines()) return;
    try {
      const found = await look(lines(), () => {});
      const said = await send(found);
      close();
      act(async () => said);
    } catch (error) {
      tell(error.message, true);
    }
  });
  made.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  made.querySelector("button[type=button]").addEventListener("click", close);
  one.append(made);
  input.focus();
  input.select();
}

document.querySelector("main").addEventListener("click", (event) => {
  const pressed = event.target.closest("button[data-act]");
  const one = pressed?.closest("li");
  if (one) ACTS[pressed.dataset.act](one.item, one);
});

const takeBack = async () => {
  if (!undo) return answer("There is nothing to undo.");
  const change = undo;
  undo = null;
  await act(() => post("/undo", { change }), $("undo").textContent === "Undo" ? "Redo" : "Undo");
  $("undo").hidden = !undo;
};
const mute = () => shown?.muted !== null && act(async () => {
  const now = await post("/hearing", { muted: !shown.muted });
  return { reply: now.muted ? "The microphone is muted." : "The microphone may be opened again." };
});

$("ask").addEventListener("submit", say);
$("said").addEventListener("input", typing);
$("said").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  $("said").value = "";
  ask({ question: false });
  typing();
});
$("record").addEventListener("click", record);
$("undo").addEventListener("click", takeBack);
$("mute").addEventListener("click", mute);
$("all").addEventListener("click", () => { limit = ALL; refresh(); });

// Keys

const kept = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
$("keys").checked = kept("keys") !== "off";
$("keys").addEventListener("change", () => {
  try { localStorage.setItem("keys", $("keys").checked ? "on" : "off"); } catch { /* then until it is loaded anew */ }
});

function step(by) {
  const all = [...document.querySelectorAll("main section:not([hidden]) li")];
  const at = all.indexOf(document.activeElement.closest("li"));
  all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by))]?.focus();
}

const KEYS = {
  "/": () => $("said").focus(), ArrowDown: () => step(1), ArrowUp: () => step(-1), u: takeBack, r: () => $("record").hidden || record(),
  m: mute, "?": () => { $("help").open = true; $("help").scrollIntoView(); $("help").firstElementChild.focus(); },
};
const ROW_KEYS = { d: "done", s: "snooze", e: "edit", x: "cancel" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input[type=text], textarea")) return;
  const arrow = event.key.startsWith("Arrow");
  if (!arrow && !$("keys").checked) return;
  if (arrow && event.target.closest(".scroll, summary")) return;
  const one = event.target.closest("li"), pressed = one?.querySelector(`[data-act="${ROW_KEYS[event.key]}"]`);
  if (pressed) pressed.click();
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

const first = JSON.parse($("overview").textContent);
if (first.error) answer(first.error, true);
else show(first);
connect();
