// SPDX-License-Identifier: MIT
// The page: rows are made when they are to be seen, and changed in place when something happens.
import { Link } from "./link.js";
import { State, key } from "./state.js";

const FEW = 200; // outlets up to which every PDU is shown open
const MOST_ROWS = 300; // rows shown at a time; a button shows as many more
const AT_ONCE = 8; // requests sent side by side
const GRACE = 30; // seconds after which an on that is owed is told though nothing has failed

const $ = (id) => document.getElementById(id);
const state = new State();
const link = new Link(askForToken);
const open = new Map(); // PDU name -> whether a person has opened or closed it
const picked = new Set(); // ids of outlets, or names of nodes, by the view
let view = "outlets", shown = MOST_ROWS, connected = false, dirty = new Set(), frame = 0, older = "", paged = false, searching = 0;

/** Returns an element: `make("b", { class: "x", onclick: f }, "text", child)`. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [word, value] of Object.entries(attributes)) {
    if (word.startsWith("on")) made.addEventListener(word.slice(2), value);
    else if (value === true) made.setAttribute(word, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(word, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

function ago(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.max(0, Math.round(seconds));
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) if (whole >= 2 * size) return `${Math.floor(whole / size)} ${unit} ago`;
  return `${whole} s ago`;
}
const since = (time) => (time === null || time === undefined ? "" : ago(state.now() - time));
const clock = (time) => new Date(time * 1000).toLocaleString();
const watts = (value) => (value === null || value === undefined ? "" : `${value < 10 ? value.toFixed(1) : Math.round(value)} W`);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const label = (outlet) => `${outlet.pdu} port ${outlet.port}`;
const behind = (outlet) => [outlet.nodes.join(", "), outlet.name && `“${outlet.name}”`].filter(Boolean).join(" ");

function note(text, bad = false) {
  const line = make("p", { class: bad ? "bad" : null }, text);
  $("notes").append(line);
  while ($("notes").children.length > 5) $("notes").firstChild.remove();
  setTimeout(() => line.remove(), bad ? 20000 : 8000);
}

// What an outlet looks like.

function pill(word, extra = "") { return make("span", { class: `state ${word.split("-")[0]}` }, word, extra); }

function condition(thing, ids) {
  const busy = [...new Set(ids.flatMap((id) => state.underWay(id)))];
  const source = { device: "read", commanded: "commanded" }[thing.source];
  const cell = make("span", { class: "condition" }, pill(thing.state));
  cell.append(" ", busy.length
    ? make("span", { class: "busy", title: busy.map((each) => each.reason || "").join(" ") }, busy.map((each) => each.action).join(", "), "…")
    : make("span", { class: "dim", title: thing.time ? clock(thing.time) : "" }, source ? `${source} ${since(thing.time)}` : "never read"));
  return cell;
}

function trail(outlet) {
  const points = outlet.trail || [];
  if (points.length < 2) return "";
  const first = points[0][0], span = Math.max(60, points.at(-1)[0] - first), most = Math.max(...points.map((each) => each[1]), 1);
  const path = points.map(([when, value], place) => `${place ? "L" : "M"}${((when - first) / span * 100).toFixed(1)} ${(29 - value / most * 28).toFixed(1)}`).join("");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "trail");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Watts since ${clock(first)}, at most ${watts(most)}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Returns why a person may not switch something, or an empty text. */
function barred(thing, action) {
  if (!connected) return "the daemon is not reachable";
  if (thing.locked) return thing.reason || "locked by the configuration";
  if (thing.may && !thing.may.includes(action)) return `${action} is not permitted`;
  const pdu = state.pdus.get(thing.pdu);
  return pdu && ["disabled", "stuck"].includes(pdu.state) ? `${pdu.name} is ${pdu.state}${pdu.reason ? `: ${pdu.reason}` : ""}` : "";
}

function buttons(thing, name, chosen) {
  return make("span", { class: "acts" }, ...["on", "off", "reboot"].map((action) => {
    const why = barred(thing, action);
    return make("button", { type: "button", disabled: Boolean(why), title: why, "aria-label": `${action} ${name}`, onclick: () => ask(action, chosen) }, action[0].toUpperCase() + action.slice(1));
  }));
}

function picker(id, name, thing) {
  return make("input", {
    type: "checkbox", class: "pick", "aria-label": `Select ${name}`, checked: picked.has(id), disabled: Boolean(thing.locked),
    onchange: (event) => { event.target.checked ? picked.add(id) : picked.delete(id); showSelection(); },
  });
}

function outletRow(id) {
  const outlet = state.outlets.get(id);
  return make("div", { class: "row", role: "group", "aria-label": `${label(outlet)} ${behind(outlet)}`, "data-id": id },
    picker(id, label(outlet), outlet),
    make("span", { class: "first" }, outlet.port),
    make("span", {}, outlet.name || ""),
    make("span", {}, outlet.nodes.join(", "), outlet.locked ? make("span", { class: "dim" }, ` ${outlet.reason || "locked"}`) : ""),
    condition(outlet, [id]),
    make("span", { title: outlet.volts ? `${outlet.volts} V, ${outlet.amps ?? "?"} A` : "" }, watts(outlet.watts), " ", trail(outlet)),
    buttons(outlet, label(outlet), [id]));
}

function nodeRow(name) {
  const node = state.nodes.get(name);
  const feeds = node.feeds.map((id) => state.outlets.get(id)).filter(Boolean);
  const states = new Set(feeds.map((feed) => feed.state));
  const oldest = feeds.reduce((found, feed) => (!found || (feed.time || 0) < (found.time || 0) ? feed : found), null);
  const whole = { state: states.size === 1 ? [...states][0] : "unknown", source: oldest?.source, time: oldest?.time ?? null };
  const thing = { locked: node.locked, reason: node.reason, may: node.may };
  const last = node.last_request;
  return make("div", { class: "row", role: "group", "aria-label": name, "data-id": name },
    picker(name, name, thing),
    make("span", { class: "first" }, name, node.locked ? make("span", { class: "dim" }, ` ${node.reason || "locked"}`) : ""),
    make("span", { class: "dim" }, node.groups.length ? node.groups.join(", ") : ""),
    condition(whole, node.feeds),
    make("span", { class: "dim" }, feeds.map(label).join(", "), last ? `; last: ${last.action} ${last.state} ${since(last.ended ?? last.accepted)}` : ""),
    buttons(thing, name, [name]));
}

// The views.

const words = () => $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);

function showOutlets() {
  const filter = words(), many = state.outlets.size > FEW, sections = [];
  let left = shown, hidden = 0, found = 0;
  for (const pdu of state.pdus.values()) {
    const all = pdu.ports.filter((id) => state.matches(state.outlets.get(id), filter));
    if (filter.length && !all.length && !filter.every((word) => `${pdu.name} ${pdu.driver} ${pdu.state}`.toLowerCase().includes(word))) continue;
    found += all.length;
    const expanded = open.get(pdu.name) ?? (!many || filter.length > 0);
    const rows = expanded ? all.slice(0, Math.max(0, left)) : [];
    if (expanded) {
      left -= rows.length;
      hidden += all.length - rows.length;
      if (!pdu.trails && connected && rows.some((id) => state.outlets.get(id).watts !== null)) {
        state.loadTrails(link, pdu).then((any) => any && rows.forEach(mark)).catch(() => { pdu.trails = false; });
      }
    }
    sections.push(section(pdu, expanded, rows));
  }
  $("outlets").replaceChildren(...sections);
  $("count").textContent = `${plural(state.pdus.size, "PDU")}, ${plural(state.outlets.size, "outlet")}${filter.length ? `, ${found} found` : ""}`;
  showMore(hidden);
}

function section(pdu, expanded, rows) {
  const outlets = pdu.ports.map((id) => state.outlets.get(id));
  const on = outlets.filter((each) => each.state === "on").length;
  const trouble = troubleOf(pdu), drawn = outlets.map((each) => each.watts).filter((each) => each !== null);
  const whole = drawn.length ? drawn.reduce((sum, each) => sum + each, 0) : pdu.watts;
  return make("section", { class: "pdu", "aria-label": pdu.name, "data-pdu": pdu.name },
    make("button", { type: "button", class: "head", "aria-expanded": String(expanded), onclick: () => { open.set(pdu.name, !expanded); show(); } },
      make("b", {}, pdu.name), make("span", { class: "dim" }, pdu.driver),
      make("span", {}, outlets.length ? `${on} of ${outlets.length} on` : "no outlets known yet"),
      make("span", {}, watts(whole)), pdu.requests ? make("span", { class: "busy" }, `${plural(pdu.requests, "request")} under way`) : ""),
    trouble ? make("p", { class: "trouble" }, trouble) : "",
    ...rows.map(outletRow));
}

function troubleOf(pdu) {
  if (pdu.state !== "ready") return `${pdu.state}${pdu.reason ? `: ${pdu.reason}` : ""}`;
  return pdu.reachable === false ? `not reachable${pdu.reason ? `: ${pdu.reason}` : ""}` : "";
}

function showNodes() {
  const filter = words();
  const names = [...state.nodes.values()].filter((node) => filter.every((word) => [node.name, ...node.groups, ...node.feeds].join(" ").toLowerCase().includes(word))).map((node) => node.name);
  $("nodes").replaceChildren(make("div", { class: "card" }, ...names.slice(0, shown).map(nodeRow)));
  $("count").textContent = `${plural(state.nodes.size, "node")}${filter.length ? `, ${names.length} found` : ""}`;
  showMore(names.length - shown);
}

function showMore(hidden) {
  $("more").hidden = hidden <= 0 || view === "requests";
  $("more").textContent = `Show more (${hidden} not shown)`;
}

function requestRow(each) {
  const word = each.state || (each.ended ? "done" : "accepted");
  const row = make("div", { class: "row request", "data-request": each.id },
    make("span", { class: "first" }, `#${each.id}`), make("span", {}, each.target), make("span", {}, each.action),
    make("span", { class: "condition" }, pill(word)),
    make("span", {}, each.reason ? `${each.reason} ` : "", make("span", { class: "dim" }, `${each.client || ""}, ${clock(each.accepted)}${each.ended ? `, took ${(each.ended - each.accepted).toFixed(1)} s` : ""}`)),
    make("span", { class: "acts" }));
  if (!each.ended && ["accepted", "queued"].includes(word)) {
    row.lastChild.append(make("button", { type: "button", "aria-label": `Cancel request ${each.id}`, onclick: () => cancel(each.id) }, "Cancel"));
  }
  return row;
}

function showRequests() {
  const live = [...state.live.values()].sort((one, other) => one.accepted - other.accepted).slice(0, shown);
  $("live").replaceChildren(make("div", { class: "card" }, ...(live.length ? live.map(requestRow) : [make("p", { class: "dim empty" }, "Nothing.")])));
  const failed = state.recent.filter((each) => each.state !== "done");
  $("count").textContent = `${plural(state.live.size, "request")} under way${failed.length ? `, ${failed.length} failed since this page was opened` : ""}`;
  showMore(0);
}

function showOwed() {
  const owing = [...state.live.values()].filter((each) => each.owed?.length && (each.reason || state.now() > each.accepted + (each.delay || 5) + GRACE));
  $("owed").hidden = !owing.length;
  $("owed").replaceChildren(owing.length ? `${plural(owing.length, "reboot")} still to be switched on again:` : "", make("ul", {}, ...owing.slice(0, 20).map((each) =>
    make("li", {}, `${each.target}: ${each.owed.map((one) => (typeof one === "string" ? one : label(one))).join(", ")} off since ${clock(each.accepted)}${each.reason ? `: ${each.reason}` : ""}`))));
}

function showSelection() {
  $("selection").hidden = !picked.size;
  $("selected").textContent = `${picked.size} selected`;
}

/** Draws the view anew, keeping what has the focus. */
function show() {
  const focused = document.activeElement?.closest?.("[data-id]")?.dataset.id, name = document.activeElement?.getAttribute?.("aria-label");
  ({ outlets: showOutlets, nodes: showNodes, requests: showRequests })[view]();
  showOwed();
  showSelection();
  $("under-way").textContent = state.live.size ? ` (${state.live.size})` : "";
  if (focused !== undefined && name) document.querySelector(`[data-id="${CSS.escape(focused)}"] [aria-label="${CSS.escape(name)}"]`)?.focus();
}

/** Draws what has changed, once per frame: rows in place, the rest anew. */
function redraw() {
  frame = 0;
  const ids = dirty;
  dirty = new Set();
  if (ids.has("all") || view !== "outlets") { show(); return; }
  const pdus = new Set();
  for (const id of ids) {
    const row = document.querySelector(`#outlets [data-id="${CSS.escape(id)}"]`);
    if (row && state.outlets.has(id)) swap(row, outletRow(id));
    pdus.add(id.split("\n")[0]);
  }
  for (const name of pdus) {
    const place = document.querySelector(`#outlets [data-pdu="${CSS.escape(name)}"]`), pdu = state.pdus.get(name);
    if (!place || !pdu) continue;
    const fresh = section(pdu, place.querySelector(".head").getAttribute("aria-expanded") === "true", []);
    place.querySelector(".trouble")?.remove();
    swap(place.querySelector(".head"), fresh.querySelector(".head"));
    if (fresh.querySelector(".trouble")) place.querySelector(".head").after(fresh.querySelector(".trouble"));
  }
  showOwed();
  $("under-way").textContent = state.live.size ? ` (${state.live.size})` : "";
}

function swap(old, fresh) {
  const focused = old.contains(document.activeElement) ? [...old.querySelectorAll("button, input")].indexOf(document.activeElement) : null;
  old.replaceWith(fresh);
  if (focused !== null) (focused < 0 ? fresh : fresh.querySelectorAll("button, input")[focused])?.focus();
}

function mark(id) {
  dirty.add(id);
  frame ||= requestAnimationFrame(redraw);
}

// What a person does.

function dialog(box) {
  return new Promise((done) => {
    const closed = () => {
      if (box.open) return; // that was the end of what was asked before
      box.removeEventListener("close", closed);
      done(box.returnValue);
    };
    box.addEventListener("close", closed);
    box.returnValue = "";
    box.showModal();
  });
}

async function askForToken(why) {
  $("why").textContent = sessionStorage.getItem("token") ? why || "The token is not valid here." : "";
  $("token").value = "";
  while ((await dialog($("ask"))) !== "yes" || !$("token").value.trim());
  return $("token").value.trim();
}

/** Asks whether to switch outlets (by id) or nodes (by name), naming what is behind them, and has it done. */
async function ask(action, chosen) {
  const nodes = view === "nodes";
  const lines = chosen.map((each) => {
    if (nodes) return `${each}: ${state.nodes.get(each).feeds.map((id) => id.replace("\n", " port ")).join(", ")}`;
    const outlet = state.outlets.get(each);
    return `${label(outlet)}${behind(outlet) ? `: ${behind(outlet)}` : ""}`;
  });
  const what = nodes ? plural(chosen.length, "node") : plural(chosen.length, "outlet");
  $("question").textContent = action === "reboot" ? `Reboot ${what}?` : `Switch ${action} ${what}?`;
  $("behind").replaceChildren(...lines.map((line) => make("li", {}, line)));
  $("yes").textContent = action === "reboot" ? "Reboot" : `Switch ${action}`;
  if ((await dialog($("confirm"))) !== "yes") return;
  const orders = nodes ? [{ action, nodes: chosen }] : chosen.map((id) => ({ action, hostname: state.outlets.get(id).pdu, port: state.outlets.get(id).port }));
  picked.clear();
  show();
  const queue = orders.entries();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => { for (const [place, order] of queue) await send(order, nodes ? what : label(state.outlets.get(chosen[place]))); }));
}

async function send(order, name) {
  const random = crypto.getRandomValues(new Uint8Array(16));
  const idempotency = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    const answer = await link.send("POST", "api/v1/requests", { ...order, wait: 0, key: idempotency });
    for (const each of answer.nodes || []) if (each.reason && !each.request) note(`${each.name}: ${each.reason}`, true);
  } catch (error) {
    note(`${order.action} ${name}: ${error.message || "the daemon does not answer; look whether it was done"}`, true);
  }
}

async function cancel(id) {
  try { await link.send("DELETE", `api/v1/requests/${id}`); } catch (error) { note(error.message, true); }
}

async function search(more) {
  paged = more;
  const form = new FormData($("search")), query = new URLSearchParams({ limit: "50" });
  for (const [word, value] of form) if (value) query.set(word, word === "since" ? new Date(value).toISOString() : value);
  try {
    const { found, next, away } = await link.page(more ? older : `api/v1/requests?${query}`);
    if (away) note(`Nothing is known of what was asked of ${away}, which cannot be reached.`, true);
    const rows = found.map(requestRow), card = make("div", { class: "card" }, ...(rows.length || more ? rows : [make("p", { class: "dim empty" }, "Nothing found.")]));
    more ? $("history").append(card) : $("history").replaceChildren(card);
    older = next || "";
    $("older").hidden = !next;
  } catch (error) { note(error.message, true); }
}

function choose(name) {
  view = name;
  picked.clear();
  shown = MOST_ROWS;
  for (const each of document.querySelectorAll("nav [data-view]")) each.dataset.view === name ? each.setAttribute("aria-current", "page") : each.removeAttribute("aria-current");
  for (const id of ["outlets", "nodes", "requests"]) $(id).hidden = id !== name;
  if (name === "requests") search(false);
  show();
}

for (const each of document.querySelectorAll("nav [data-view]")) each.addEventListener("click", () => choose(each.dataset.view));
for (const each of document.querySelectorAll("#selection [data-action]")) each.addEventListener("click", () => ask(each.dataset.action, [...picked]));
$("clear").addEventListener("click", () => { picked.clear(); show(); });
$("more").addEventListener("click", () => { shown += MOST_ROWS; show(); });
$("filter").addEventListener("input", () => { shown = MOST_ROWS; show(); });
$("search").addEventListener("submit", (event) => { event.preventDefault(); search(false); });
$("older").addEventListener("click", () => search(true));
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !document.querySelector("dialog[open]")) { event.preventDefault(); $("filter").focus(); }
});

async function load() {
  await state.load(link);
  show();
}

let reloading = null;
link.follow(
  async () => {
    await load();
    connected = true;
    document.body.classList.remove("lost");
    $("link").textContent = "Live";
    show();
  },
  (event) => {
    const [kind, id] = state.hear(event);
    if (kind === "all") reloading ??= load().catch((error) => note(error.message, true)).finally(() => { reloading = null; });
    else if (kind === "request") {
      for (const each of (state.live.get(id) || state.recent[0])?.outlets || []) mark(key(each.pdu, each.port));
      const ended = event.kind === "ended" && state.recent[0];
      if (ended && ended.state !== "done") note(`${ended.action} ${ended.target} ${ended.state}${ended.reason ? `: ${ended.reason}` : ""}`, true);
      if (view === "requests") mark("all");
      if (view === "requests" && ended && !paged) searching ||= setTimeout(() => { searching = 0; search(false); }, 1000);
    } else if (kind === "pdu") mark(`${id}\n`);
    else if (kind === "outlet") mark(id);
  },
  (why) => {
    if (connected) note("The connection is lost: what is shown is as it was then.", true);
    if (connected || !document.body.classList.contains("lost")) $("link").textContent = `Not connected since ${new Date().toLocaleTimeString()}: ${why}`;
    connected = false;
    document.body.classList.add("lost");
    show();
  });
setInterval(() => { if (connected && !document.querySelector("dialog[open]") && !document.hidden) mark(view === "outlets" ? "ages" : "all"); }, 15000);
