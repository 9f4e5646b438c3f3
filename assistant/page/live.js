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

// What is pressed

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
const ROW_KEYS = { d: "done", s: "snooze", e: "edit", w: "rename", x: "cancel" };

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
if (location.hash.startsWith("#token=")) history.replaceState(null, "", "/");  // opened while logged in already
connect();
