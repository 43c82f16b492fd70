// Follows what `ringway dev` does: reloads the page when a new program serves, and shows over it what went wrong meanwhile.
(() => {
  "use strict";
  const base = document.currentScript.src.replace(/[^/]*$/, "");
  const program = Number(base.split("/").at(-2));
  const version = Number(document.documentElement.dataset.version);
  let pages = null;
  let shown = null;

  const element = (name, style, parts = []) => {
    const made = document.createElement(name);
    Object.assign(made.style, style);
    made.append(...parts);
    return made;
  };

  const hide = () => {
    if (shown) shown.element.remove();
    shown = null;
  };

  const show = (key, made) => {
    hide();
    // Styles of the page do not reach what has a root of its own.
    const host = element("ringway-dev", { all: "initial" });
    host.attachShadow({ mode: "closed" }).append(made);
    document.documentElement.append(host);
    shown = { key, element: host };
  };

  const badge = (text) => element("div", {
    position: "fixed", right: "16px", bottom: "16px", zIndex: "2147483647", padding: "8px 14px", borderRadius: "999px",
    background: "#1c1d1a", color: "#fff", font: "600 13px/1.4 system-ui, sans-serif", boxShadow: "0 4px 18px #0005",
    pointerEvents: "none",
  }, [text]);

  const cover = (key) => {
    const frame = element("iframe", { border: "0", width: "100%", height: "100%", display: "block" });
    frame.src = base + "page";
    const close = element("button", {
      position: "absolute", top: "14px", right: "18px", padding: "7px 14px", border: "1px solid #8888", borderRadius: "8px",
      background: "#fff", color: "#1c1d1a", font: "600 13px/1.4 system-ui, sans-serif", cursor: "pointer",
    }, ["Close"]);
    close.onclick = hide;
    show(key, element("div", { position: "fixed", inset: "0", zIndex: "2147483647", background: "#fff" }, [frame, close]));
  };

  const follow = (now) => {
    // A page of `ringway dev` itself stands for one state.
    if (program === 0) {
      if (now.version !== version && window === window.top) location.reload();
      return;
    }
    const isOther = now.running !== 0 && now.running !== program && now.phase === "running";
    if (isOther || (pages !== null && now.pages !== pages)) return location.reload();
    pages = now.pages;
    const key = now.phase + (now.phase === "building" || now.phase === "starting" ? "" : now.version);
    if (shown && shown.key === key) return;
    if (now.phase === "running") hide();
    else if (now.phase === "building" || now.phase === "starting") {
      // What the compiler said stays until it says something else.
      if (!shown || !shown.key.startsWith("broken")) show(key, badge(now.phase === "building" ? "Building…" : "Starting…"));
    } else cover(key);
  };

  new EventSource(base + "events").onmessage = (message) => follow(JSON.parse(message.data));
})();
