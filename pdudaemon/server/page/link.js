// SPDX-License-Identifier: MIT
// The way to the daemon: questions with the token, and the stream of events, over a lost connection too.
// A token lives in this tab's session alone, and travels in a header, never in an address.

const ROOT = new URL("../", document.baseURI);
const SILENCE = 45000; // ms without a line, heartbeats included, after which a stream counts as dead
const PAUSES = [500, 1000, 2000, 5000, 10000];

export class Refused extends Error {
  constructor(status, text, body) { super(text); this.status = status; this.body = body; }
}

export class Link {
  #askForToken;
  #asking = null;

  constructor(askForToken) { this.#askForToken = askForToken; }

  /** Returns the response to a question; asks for a token as often as it is refused for want of one. */
  async #fetch(path, options = {}) {
    for (;;) {
      const token = sessionStorage.getItem("token");
      const headers = { Accept: "application/json", ...options.headers };
      if (token) headers.Authorization = `Bearer ${token}`;
      const response = await fetch(new URL(path, ROOT), { cache: "no-store", credentials: "same-origin", ...options, headers });
      if (response.ok) return response;
      const text = await response.text();
      let body = {};
      try { body = JSON.parse(text); } catch { body = { detail: text.trim() }; }
      if (response.status !== 401) throw new Refused(response.status, body.detail || response.statusText, body);
      if (token !== sessionStorage.getItem("token")) continue; // another question has got one meanwhile
      this.#asking ??= this.#askForToken(body.detail || "").finally(() => { this.#asking = null; });
      sessionStorage.setItem("token", await this.#asking);
    }
  }

  async get(path) { return (await this.#fetch(path)).json(); }

  /** Returns a page of a list, the path of the next one if there is one, and the sites of which nothing is known. */
  async page(path) {
    const response = await this.#fetch(path), next = following(response);
    return { found: await response.json(), next, away: response.headers.get("X-Unreachable-Sites") || "" };
  }

  /** Returns all pages of a list, one after the other. */
  async *pages(path) {
    for (let next = path; next;) {
      const response = await this.#fetch(next);
      yield await response.json();
      next = following(response);
    }
  }

  async send(method, path, content) {
    const headers = content && { "Content-Type": "application/json" };
    return (await this.#fetch(path, { method, headers, body: content && JSON.stringify(content) })).json();
  }

  /** Tells `heard(event)` of every event for good, `opened()` and `lost(why)` of how the connection does. */
  async follow(opened, heard, lost) {
    let last = "";
    for (let failures = 0; ; failures++) {
      let why = "the daemon has closed the connection";
      const abort = new AbortController();
      let timer;
      const alive = () => { clearTimeout(timer); timer = setTimeout(() => abort.abort(), SILENCE); };
      try {
        alive();
        const headers = { Accept: "application/x-ndjson" };
        if (last) headers["Last-Event-ID"] = last;
        const response = await this.#fetch("api/v1/events", { headers, signal: abort.signal });
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        failures = 0;
        await opened();
        for (let rest = ""; ;) {
          const { done, value } = await reader.read();
          if (done) break;
          alive();
          const lines = (rest + value).split("\n");
          rest = lines.pop();
          for (const line of lines.filter(Boolean)) {
            const event = JSON.parse(line);
            if (event.id !== undefined) last = String(event.id);
            heard(event);
          }
        }
      } catch (error) {
        why = error instanceof Refused ? error.message : "the daemon does not answer";
      }
      clearTimeout(timer);
      abort.abort();
      lost(why);
      await new Promise((done) => setTimeout(done, PAUSES[Math.min(failures, PAUSES.length - 1)]));
    }
  }
}

/** Returns the address of the next page of a list, or nothing. */
function following(response) {
  const found = /<([^>]*)>; *rel="?next/.exec(response.headers.get("Link") || "");
  return found && new URL(found[1].replace(/^\//, ""), ROOT).href;
}
