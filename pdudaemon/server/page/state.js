// SPDX-License-Identifier: MIT
// What this page knows: PDUs, their outlets, nodes, requests. It is loaded whole, then kept by events; after a lost
// connection it is loaded whole again, so that there are never two truths on one screen.

const MOST_RECENT = 200; // requests that have ended, kept beside those under way
const TRAIL = 3600; // seconds of watts that are shown

export const key = (pdu, port) => `${pdu}\n${port}`;

export class State {
  pdus = new Map();
  outlets = new Map();
  nodes = new Map();
  live = new Map(); // requests under way, by id
  recent = []; // requests that have ended while we looked, newest first
  #behind = 0; // seconds that this clock is behind the daemon's

  /** Takes everything in anew. */
  async load(link) {
    const pdus = new Map(), outlets = new Map(), nodes = new Map(), live = new Map();
    for await (const page of link.pages("api/v1/pdus")) for (const pdu of page) pdus.set(pdu.name, { ...pdu, ports: [] });
    for await (const page of link.pages("api/v1/outlets")) {
      for (const outlet of page) {
        const id = key(outlet.pdu, outlet.port);
        outlets.set(id, this.#trailed(outlet, this.outlets.get(id)));
        pdus.get(outlet.pdu)?.ports.push(id);
      }
    }
    for await (const page of link.pages("api/v1/nodes")) {
      for (const node of page) nodes.set(node.name, { ...node, feeds: node.feeds.map((feed) => key(feed.pdu, feed.port)) });
    }
    for await (const page of link.pages("api/v1/requests?state=accepted,queued,waiting,running&limit=1000")) for (const each of page) live.set(each.id, each);
    Object.assign(this, { pdus, outlets, nodes, live });
  }

  /** Takes an event in; returns what has changed: [kind, id], with kind "outlet", "pdu", "request" or "all". */
  hear(event) {
    if (event.time) this.#behind = event.time - Date.now() / 1000;
    if (event.kind === "outlet") {
      const id = key(event.outlet.pdu, event.outlet.port);
      const before = this.outlets.get(id);
      if (!before) return ["all"];
      if ((before.time || 0) > (event.outlet.time || 0) && before.state !== event.outlet.state) return [];
      this.outlets.set(id, this.#trailed(event.outlet, before));
      return ["outlet", id];
    }
    if (event.kind === "pdu") {
      const pdu = this.pdus.get(event.pdu);
      if (!pdu) return ["all"];
      Object.assign(pdu, { state: event.state, reason: event.reason, reachable: event.reachable });
      return ["pdu", event.pdu];
    }
    if (event.request !== undefined) return this.#hearOfRequest(event);
    return event.kind === "reload" || event.kind === "gap" ? ["all"] : [];
  }

  #hearOfRequest(event) {
    const outlets = event.outlets.map((each) => (typeof each === "string" ? outlet(each) : each));
    const before = this.live.get(event.request) || { accepted: event.time };
    const now = { ...before, ...event, id: event.request, accepted: before.accepted, outlets };
    if (event.kind === "ended") {
      this.live.delete(event.request);
      this.recent = [{ ...now, ended: event.time }, ...this.recent.filter((each) => each.id !== event.request)].slice(0, MOST_RECENT);
    } else {
      this.live.set(event.request, now);
    }
    return ["request", event.request];
  }

  /** Loads what a PDU's outlets drew within the last hour; returns whether there is anything to show. */
  async loadTrails(link, pdu) {
    pdu.trails = true;
    const found = await link.get(`api/v1/pdus/${encodeURIComponent(pdu.name)}/watts`);
    for (const [port, points] of Object.entries(found.outlets)) {
      const outlet = this.outlets.get(key(pdu.name, port));
      if (outlet) outlet.trail = points;
    }
    return Object.keys(found.outlets).length > 0;
  }

  #trailed(outlet, before) {
    const now = this.now(), trail = (before?.trail || []).filter(([when]) => when > now - TRAIL);
    if (outlet.watts !== null && outlet.watts !== undefined) {
      const when = now - (outlet.readings_age || 0);
      if (!trail.length || when > trail.at(-1)[0] + 5) trail.push([when, outlet.watts]);
    }
    return { ...outlet, trail };
  }

  /** The daemon's time in seconds. */
  now() { return Date.now() / 1000 + this.#behind; }

  /** The requests under way for an outlet. */
  underWay(id) {
    return [...this.live.values()].filter((each) => each.outlets.some((one) => key(one.pdu, one.port) === id));
  }

  /** Whether all words of a filter are found in what an outlet is. */
  matches(outlet, words) {
    const text = [outlet.pdu, outlet.port, outlet.name, ...outlet.nodes, outlet.state, outlet.locked ? "locked" : ""].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  }
}

function outlet(text) {
  const place = text.lastIndexOf(":");
  return { pdu: text.slice(0, place), port: text.slice(place + 1) };
}
