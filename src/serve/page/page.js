// The page as it is served says everything; this keeps it current and lets the threshold be changed.
"use strict";

const byId = (id) => document.getElementById(id);

// Times are served in UTC; people read their own.
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString()} `;
    time.textContent = day + at.toLocaleTimeString();
    time.title = time.dateTime;
  }
}

function isBeingRead(part) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
}

// Replaces a part; what is open stays open and what has the focus keeps it.
function replace(id, html) {
  const part = byId(id);
  if (!part || isBeingRead(part)) return;
  const open = new Set([...part.querySelectorAll("details[open]")].map((details) => details.id));
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.innerHTML = html;
  for (const details of part.querySelectorAll("details")) details.open = open.has(details.id);
  localise(part);
  if (focused && byId(focused)) byId(focused).focus({ preventScroll: true });
}

function follow() {
  const link = byId("link");
  const say = (text, isLost) => {
    if (link.textContent === text) return;
    link.textContent = text;
    link.classList.toggle("lost", isLost);
  };
  const events = new EventSource("live");
  events.addEventListener("open", () => say("live", false));
  events.addEventListener("error", () => say("connection lost; what is shown may be old", true));
  events.addEventListener("parts", (event) => {
    say("live", false);
    const { title, parts, shape } = JSON.parse(event.data);
    if (shape !== document.body.dataset.shape) return location.reload();
    document.title = title;
    for (const [id, html] of Object.entries(parts)) replace(id, html);
  });
}

async function change(method, settings) {
  const said = byId("said");
  const tell = (text, kind) => { said.textContent = text; said.className = `said ${kind}`; };
  try {
    const response = await fetch("api/v1/monitoring/anomaly/config", {
      method,
      headers: { "Content-Type": "application/json" },
      body: settings && JSON.stringify(settings),
    });
    const answer = await response.json();
    if (answer.status !== "success") return tell(`Refused: ${answer.error}`, "refused");
    const threshold = answer.data.effective.detector.ensemble_threshold;
    tell([`The threshold is ${threshold} now.`, ...(answer.warnings ?? [])].join(" "), "done");
    byId("threshold").value = threshold;
  } catch (error) {
    tell(`Not changed: ${error.message}`, "refused");
  }
}

// What is no number between 0 and 1 is refused here as it would be there.
function wanted(text) {
  const threshold = Number(text.trim().replace(",", "."));
  return text.trim() !== "" && threshold >= 0 && threshold <= 1 ? threshold : undefined;
}

function listen() {
  const [form, input, said] = [byId("settings-form"), byId("threshold"), byId("said")];
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const threshold = wanted(input.value);
    input.setAttribute("aria-invalid", threshold === undefined);
    if (threshold === undefined) {
      said.textContent = `Refused: "${input.value}" is not between 0 and 1`;
      said.className = "said refused";
      input.focus();
    } else {
      change("PUT", { detector: { ensemble_threshold: threshold } });
    }
  });
  byId("forget").addEventListener("click", () => change("DELETE"));
}

// An alert links to the metric it is about.
function showWanted() {
  const asked = new URLSearchParams(location.search);
  if (!asked.has("metric")) return;
  const isWanted = (signal) => signal.dataset.metric === asked.get("metric")
    && (!asked.has("instance") || signal.dataset.instance === asked.get("instance"));
  const signal = [...document.querySelectorAll(".signal")].find(isWanted);
  if (signal) location.replace(`#${signal.id}`);
}

// What comes with the page is painted first: dates of a locale take a browser longer than the page, and the first push
// replaces everything. Where nothing is painted, there is nothing to wait for.
function oncePainted(begin) {
  if (document.hidden || !PerformanceObserver.supportedEntryTypes.includes("paint")) return begin();
  const observer = new PerformanceObserver(() => { observer.disconnect(); begin(); });
  observer.observe({ type: "paint", buffered: true });
}

if (byId("settings-form")) {
  listen();
  showWanted();
  oncePainted(follow);
}
oncePainted(() => localise(document));
