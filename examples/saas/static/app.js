// The demo's page. Everything it shows came back from a real request to the app behind it.

const $ = (id) => document.getElementById(id);
let me = null;
let socket = null;

async function call(method, path, { body, headers = {} } = {}) {
  const answer = await fetch(path, {
    method,
    headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let data = null;
  try { data = text ? JSON.parse(text) : null; } catch { data = { text }; }
  return { status: answer.status, data, requestId: answer.headers.get("x-request-id") };
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// --- signing in and out -------------------------------------------------------------------

async function showPeople() {
  const { data } = await call("GET", "/api/people");
  $("people").replaceChildren(...data.map((person) => {
    const button = element("button");
    button.append(element("span", person.user), element("small", `tenant ${person.tenant}`));
    button.addEventListener("click", () => signIn(person.user));
    return button;
  }));
}

async function signIn(user) {
  await call("POST", "/api/sign-in", { body: { user } });
  localStorage.setItem("signed-in", "yes");
  await start();
}

async function signOut() {
  await call("POST", "/api/sign-out", { body: {} });
  socket?.close();
  localStorage.removeItem("signed-in");
  await start();
}

async function start() {
  // The session's cookie is out of reach for scripts; this only saves a request that would fail.
  const hoped = localStorage.getItem("signed-in") !== null;
  const { status, data } = hoped ? await call("GET", "/api/me") : { status: 401 };
  me = status === 200 ? data : null;
  $("welcome").hidden = Boolean(me);
  $("workplace").hidden = !me;
  $("sign-out").hidden = !me;
  $("run-output").hidden = true;
  if (!me) {
    $("who").textContent = "Nobody is signed in";
    await showPeople();
    return;
  }
  $("who").replaceChildren(element("b", me.user), ` of tenant ${me.tenant}`);
  $("tenant-name").textContent = me.tenant;
  $("attacker").textContent = me.user;
  $("victim").textContent = `tenant ${me.other.tenant}`;
  await showNotes();
  watch();
  showAttacks();
}

// --- notes ----------------------------------------------------------------------------------

function noteItem(note, isNew = false) {
  const item = element("li", note.text, isNew ? "new" : "");
  item.dataset.id = note.id;
  item.append(element("small", `${note.author}, ${new Date(note.created_at).toLocaleTimeString()}`));
  return item;
}

async function showNotes() {
  const { data } = await call("GET", "/api/notes");
  $("notes").replaceChildren(...data.map((note) => noteItem(note)));
}

function watch() {
  socket?.close();
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/api/notes/live`);
  const badge = $("live");
  const current = socket;
  socket.addEventListener("open", () => { badge.textContent = "live"; badge.className = "badge good"; });
  socket.addEventListener("close", () => {
    if (current === socket) { badge.textContent = "not connected"; badge.className = "badge"; }
  });
  socket.addEventListener("message", ({ data }) => {
    const note = JSON.parse(data);
    if (!document.querySelector(`[data-id="${CSS.escape(note.id)}"]`)) $("notes").prepend(noteItem(note, true));
  });
}

async function addNote(event) {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  const { status, data } = await call("POST", "/api/notes", { body: { text } });
  if (status === 201) $("text").value = "";
  else showOutput(`Not stored: ${status} ${data?.code ?? ""}`);
}

function showOutput(text) {
  $("run-output").hidden = false;
  $("run-output").textContent = text;
}

async function runReport() {
  const begun = await call("POST", "/api/reports", { body: {} });
  if (begun.status !== 202) return showOutput(`Refused: ${begun.status} ${begun.data?.code ?? ""}`);
  showOutput("The report is being made in the background …");
  for (let tries = 0; tries < 40; tries += 1) {
    const { data } = await call("GET", `/api/reports/${begun.data.id}`);
    if (data.state === "done") return showOutput(data.text);
    await new Promise((done) => setTimeout(done, 150));
  }
  return showOutput("The report did not finish in time.");
}

async function runAgent() {
  const { status, data } = await call("POST", "/api/agent", { body: {} });
  showOutput(status === 200 ? data.steps.join("\n") : `Refused: ${status} ${data?.code ?? ""}`);
}

// --- attacks --------------------------------------------------------------------------------

function attackList() {
  const { other } = me;
  return [
    { name: "Name the tenant by header", what: "Ask for notes with the other tenant's id in X-Tenant-Id.",
      run: () => call("GET", "/api/notes", { headers: { "x-tenant-id": other.tenant_id } }),
      tried: `GET /api/notes with x-tenant-id: ${other.tenant_id}` },
    { name: "Name the tenant by path", what: "Ask for the same notes below the other tenant's path.",
      run: () => call("GET", `/t/${other.tenant_id}/api/notes`), tried: `GET /t/${other.tenant_id}/api/notes` },
    { name: "Name a foreign note by id", what: "Ask for one note of the other tenant, by its real primary key.",
      run: () => call("GET", `/api/notes/${other.note_id}`), tried: `GET /api/notes/${other.note_id}` },
    ...me.attacks.map(({ id, name, what }) => ({
      name, what, run: () => call("POST", `/api/attacks/${id}`, { body: {} }), tried: null,
    })),
  ];
}

function showAttacks() {
  const cards = attackList().map((attack) => {
    const card = $("attack-card").content.cloneNode(true).firstElementChild;
    card.querySelector("h3").textContent = attack.name;
    card.querySelector(".what").textContent = attack.what;
    card.querySelector("button").addEventListener("click", () => tryAttack(card, attack));
    return card;
  });
  $("attacks").replaceChildren(...cards);
  score();
}

async function tryAttack(card, attack) {
  const button = card.querySelector("button");
  button.disabled = true;
  const { status, data, requestId } = await attack.run();
  const events = data?.events ?? (await call("GET", `/api/events/${requestId}`)).data ?? [];
  const held = data?.held ?? (status >= 400 && status < 500);
  const left = events.map((event) => `${event.name} (${event.reason || event.outcome})`);
  card.querySelector(".tried").textContent = data?.tried ?? attack.tried;
  card.querySelector(".answer").textContent = data?.answer ?? `${status} ${data?.code ?? data?.detail ?? ""}`;
  card.querySelector(".event").textContent = left.join(", ") || "none: nothing was refused, there was nothing to see";
  card.querySelector("dl").hidden = false;
  const verdict = card.querySelector(".verdict");
  verdict.textContent = held ? "held" : "LEAKED";
  verdict.className = `badge verdict ${held ? "good" : "bad"}`;
  button.disabled = false;
  score();
}

function score() {
  const verdicts = [...document.querySelectorAll("#attacks .verdict")].map((badge) => badge.textContent);
  const tried = verdicts.filter((verdict) => verdict !== "not tried");
  const held = tried.filter((verdict) => verdict === "held").length;
  const badge = $("score");
  badge.textContent = tried.length ? `${held} of ${tried.length} held` : "none tried";
  badge.className = `badge ${tried.length ? (held === tried.length ? "good" : "bad") : ""}`;
}

async function tryAll() {
  for (const button of document.querySelectorAll("#attacks button")) {
    button.click();
    while (button.disabled) await new Promise((done) => setTimeout(done, 30));
  }
}

$("sign-out").addEventListener("click", signOut);
$("add").addEventListener("submit", addNote);
$("report").addEventListener("click", runReport);
$("agent").addEventListener("click", runAgent);
$("all-attacks").addEventListener("click", tryAll);
await start();
