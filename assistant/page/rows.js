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
  if (how !== "missed") acts.append(button("rename", "Other words", words));
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

// What is done to a row

const ACTS = {
  done: (r) => act(() => post(`/reminders/${r.id}/done`, {})),
  snooze: (r) => act(() => post(`/reminders/${r.id}/snooze`, {})),
  cancel: (r) => act(() => call("DELETE", `/reminders/${r.id}`)),
  rename: (r, one) => form(one, `Other words for ${task(r)}`, r.task, "Save", "", async (text) => text,
    (words) => post(`/reminders/${r.id}/rename`, { task: words })),
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
