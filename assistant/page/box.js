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
