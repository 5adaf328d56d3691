"use strict";

// The page of a send. In Airflow it asks the public REST API with the session of whoever looks at it; in a file that
// `airflow cirrus report` has written, all there is to show stands in the file.

const OUTCOMES = ["accepted", "rejected", "suppressed", "duplicate", "unknown", "unsent"];
const PROGRESS = "cirrus:progress", WISH = "cirrus:wish";
const OPERATORS = new Set(["SendTemplateOperator", "SqlToCirrusOperator"]);
const EVERY = 2000; // milliseconds
const one = (id) => document.getElementById(id);
const number = (value) => Number(value).toLocaleString("en");

function make(name, attributes = {}, ...inner) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inner.map((part) => part instanceof Node ? part : String(part)));
  return made;
}

function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(whole / 3600), "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([count]) => count);
  return first < 0 ? "0 s" : parts.slice(first, first + 2).map((part) => part.join(" ")).join(" ");
}

// ---- what is shown

function bar(counts, total) {
  const all = Math.max(total ?? 0, Object.values(counts).reduce((a, b) => a + b, 0), 1);
  const parts = OUTCOMES.filter((name) => counts[name]);
  one("bar").replaceChildren(...parts.map((name) =>
    make("span", { style: `width:${100 * counts[name] / all}%;background:var(--${name})`, title: `${number(counts[name])} ${name}` })));
  one("bar").setAttribute("aria-label", parts.map((name) => `${number(counts[name])} ${name}`).join(", ") || "nothing yet");
}

function facts(pairs) {
  one("facts").replaceChildren(...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function chart(history, names) {
  const width = 600, height = 150;
  const last = history.at(-1);
  if (!last || history.length < 2 || !(last[0] > history[0][0])) {
    one("chart").replaceChildren(make("p", {}, "Not enough yet."));
    return;
  }
  const begin = history[0][0], most = Math.max(1, ...history.map((row) => row.slice(1).reduce((a, b) => a + b, 0)));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const shown = names.map((name, at) => [name, at]).filter(([, at]) => last[at + 1]);
  svg.setAttribute("aria-label", `After ${span(last[0])}: ` + shown.map(([name, at]) => `${number(last[at + 1])} ${name}`).join(", "));
  const x = (row) => width * (row[0] - begin) / (last[0] - begin);
  const below = history.map(() => 0);
  for (const [name, at] of shown) {
    const bottom = history.map((row, place) => `${x(row)},${height - height * below[place] / most}`);
    history.forEach((row, place) => { below[place] += row[at + 1]; });
    const top = history.map((row, place) => `${x(row)},${height - height * below[place] / most}`);
    const area = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    area.setAttribute("points", [...top, ...bottom.reverse()].join(" "));
    area.setAttribute("fill", `var(--${name})`);
    svg.append(area);
  }
  const key = make("ul", { class: "key" }, ...shown.map(([name]) =>
    make("li", {}, make("i", { style: `background:var(--${name})` }), name)));
  one("chart").replaceChildren(svg, key);
}

function table(id, heads, rows) {
  if (!rows.length) {
    one(id).replaceChildren(make("tbody", {}, make("tr", {}, make("td", {}, "Nothing."))));
    return;
  }
  const cells = (kind, row) => row.map((cell, at) => make(kind, at ? {} : { class: "number" }, cell));
  one(id).replaceChildren(
    make("thead", {}, make("tr", {}, ...cells("th", heads))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells("td", row)))));
}

// How many a second came to one of these outcomes lately.
function rateNow(found, names) {
  const rows = found.history ?? [];
  if (rows.length < 2) return NaN;
  const last = rows.at(-1);
  const before = rows.findLast((row) => row[0] <= last[0] - 4) ?? rows[0];
  const places = Object.keys(found.counts).flatMap((name, at) => names.includes(name) ? [at + 1] : []);
  const sum = (row) => places.reduce((soFar, at) => soFar + row[at], 0);
  return (sum(last) - sum(before)) / (last[0] - before[0]);
}

function show(found) {
  const counts = found.counts ?? {};
  const done = Object.values(counts).reduce((a, b) => a + b, 0);
  const by = found.wish?.by ? ` by ${found.wish.by}` : "";
  const state = found.state === "ended" ? "Ended" : found.wish?.state === "stopped" ? `Stopped${by}`
    : found.state === "paused" ? `Paused${by}` : "Running";
  one("state").textContent = state;
  bar(counts, found.total);
  // What a rule held back took no place under the limit.
  const rate = rateNow(found, ["accepted", "rejected", "unknown"]);
  const pairs = [["Done", found.total == null ? number(done) : `${number(done)} of ${number(found.total)}`]];
  for (const name of OUTCOMES) if (counts[name]) pairs.push([name[0].toUpperCase() + name.slice(1), number(counts[name])]);
  if (found.state === "running") {
    pairs.push(["Rate", `${Number.isFinite(rate) ? rate.toFixed(1) : "–"} of ${found.limit} a second`]);
    if (found.total != null) pairs.push(["Time left", span((found.total - done) / rateNow(found, OUTCOMES))]);
  }
  if (found.seconds != null) pairs.push(["Time", span(found.seconds)]);
  facts(pairs);
  chart(found.history ?? [], Object.keys(counts));
  table("reasons", ["Messages", "Outcome", "Reason"], (found.reasons ?? []).map((reason) =>
    [number(reason.count), reason.outcome, reason.reason + (reason.code == null ? "" : ` (${reason.code})`)]));
  table("countries", ["Accepted", "Country"], Object.entries(found.countries ?? {}).map(([name, count]) => [number(count), name]));
  one("report").textContent = found.report ? `Report: ${found.report}` : "";
  one("send").hidden = false;
}

// ---- what Airflow says

const query = new URLSearchParams(location.search);
const given = (name) => { const value = query.get(name); return value && !value.startsWith("{") ? value : null; };
const dag = given("dag_id"), run = given("run_id"), task = given("task_id"), mapIndex = given("map_index") ?? "-1";
const api = (...parts) => "../../api/v2/" + parts.map(encodeURIComponent).join("/");

class Refused extends Error {}

async function ask(address, options = {}) {
  const answer = await fetch(address, { credentials: "same-origin", headers: { "Content-Type": "application/json" }, ...options });
  if (answer.status === 404) return null;
  if (answer.status === 401) throw new Refused("Airflow does not know you: log in, then load this page again.");
  if (answer.status === 403) throw new Refused("Airflow does not let you do this: ask for the right to it.");
  if (!answer.ok) throw new Error(`Airflow answers ${answer.status}.`);
  return answer.status === 204 ? {} : answer.json();
}

const instances = (name = task) => api("dags", dag, "dagRuns", run, "taskInstances", name);
const stored = (key, index) => `${instances()}/state-store/${encodeURIComponent(key)}?map_index=${index}`;

async function mapIndexes() {
  if (mapIndex === "-1") return [-1];
  const found = [];
  for (;;) {
    // Airflow gives no more than a hundred at a time.
    const page = await ask(`${instances()}/listMapped?limit=100&offset=${found.length}`);
    const some = (page?.task_instances ?? []).map((one) => one.map_index);
    found.push(...some);
    if (!some.length || found.length >= page.total_entries) return found;
  }
}

let known = null;

async function look() {
  const [progress, wish] = await Promise.all([ask(stored(PROGRESS, mapIndex)), ask(stored(WISH, mapIndex))]);
  const xcom = await ask(`${instances()}/xcomEntries/return_value?map_index=${mapIndex}`);
  const instance = await ask(instances() + (mapIndex === "-1" ? "" : `/${mapIndex}`));
  if (instance === null) throw new Refused("There is no such task instance.");
  const live = ["running", "deferred", "up_for_retry", "queued", "scheduled"].includes(instance.state);
  let result = xcom?.value ?? null;
  if (typeof result === "string") { try { result = JSON.parse(result); } catch { result = null; } }
  known = wish?.value ?? null;
  const found = { ...(progress?.value ?? {}) };
  if (known) found.wish = known;
  if (result && !live) {
    const counts = Object.fromEntries(OUTCOMES.map((name) => [name, result[name] ?? 0]));
    Object.assign(found, { counts, total: result.total, reasons: result.reasons, report: result.report, state: "ended" });
    found.seconds ??= result.seconds;
  } else if (!live) {
    found.state = "ended";
  }
  one("steer").hidden = !live || progress === null;
  if (!found.counts) {
    one("message").textContent = `Nothing is known of this send yet; the task is ${instance.state ?? "not begun"}.`;
    return live;
  }
  one("message").textContent = "";
  show(found);
  return live;
}

async function steer(action) {
  const states = { pause: "paused", resume: "running", "stop-now": "stopped", rate: known?.state ?? "running" };
  const asked = action === "rate" ? Number(one("rate").value) || null : known?.messages_per_second ?? null;
  const wish = { v: 1, state: states[action], messages_per_second: asked, by: "the delivery page", at: Date.now() / 1000 };
  for (const index of await mapIndexes()) {
    await ask(stored(WISH, index), { method: "PUT", body: JSON.stringify({ value: wish, expires_at: null }) });
  }
  one("answer").textContent = "Asked for; a send obeys within five seconds.";
}

async function list() {
  const address = api("dags", dag ?? "~", "dagRuns", run ?? "~", "taskInstances") + "?limit=100&order_by=-start_date";
  const found = (await ask(address))?.task_instances ?? [];
  const sends = found.filter((one) => OPERATORS.has(one.operator_name ?? one.operator));
  const rows = sends.map((one) => {
    const to = new URLSearchParams({ dag_id: one.dag_id, run_id: one.dag_run_id, task_id: one.task_id, map_index: one.map_index });
    const name = one.task_id + (one.map_index >= 0 ? ` [${one.map_index}]` : "");
    return make("tr", {}, make("td", {}, make("a", { href: `?${to}` }, name)), make("td", {}, one.dag_id),
      make("td", {}, one.dag_run_id), make("td", {}, one.state ?? "not begun"));
  });
  const heads = ["Task", "DAG", "Run", "State"].map((name) => make("th", { scope: "col" }, name));
  one("list").replaceChildren(rows.length ? make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows))
    : make("p", {}, "No sends among the last hundred tasks."));
  one("list").hidden = false;
  return true;
}

async function again(work, every) {
  let goesOn = true;
  try {
    goesOn = await work();
  } catch (error) {
    one("message").textContent = error.message;
    if (error instanceof Refused) { one("send").hidden = one("list").hidden = true; goesOn = false; }
  }
  if (goesOn) setTimeout(() => again(work, every), every);
}

function begin() {
  const file = one("data");
  if (file) {
    const found = JSON.parse(file.textContent);
    one("title").textContent = found.title;
    show(found);
    return;
  }
  one("where").textContent = [dag, run, task && task + (mapIndex === "-1" ? "" : ` [${mapIndex}]`)].filter(Boolean).join(" · ");
  if (!task) {
    one("title").textContent = "Deliveries";
    again(list, 5 * EVERY);
    return;
  }
  one("steer").addEventListener("submit", (event) => event.preventDefault());
  one("steer").addEventListener("click", async (event) => {
    const action = event.target.dataset?.action;
    if (!action) return;
    if (action === "stop" || action === "keep") {
      one("sure").hidden = action === "keep";
      one("steer").querySelector(action === "stop" ? "[data-action=keep]" : "[data-action=stop]").focus();
      return;
    }
    try {
      await steer(action);
      one("sure").hidden = true;
    } catch (error) {
      one("answer").textContent = error.message;
    }
  });
  again(look, EVERY);
}

begin();
