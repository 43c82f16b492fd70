"use strict";
// One page, one socket: the room is in the address behind the #, the name is remembered by the browser.
const $ = (id) => document.getElementById(id);
const PAUSE_MS_FIRST = 250;
const PAUSE_MS_MAX = 8000;
const TYPING_MS = 2500;
const GROUPED_MS = 5 * 60 * 1000;
const SHOWN_MAX = 500;

let name = localStorage.getItem("name") || "";
let room = roomOfAddress();
let socket = null;
let pause = PAUSE_MS_FIRST;
let last = 0;
let seen = new Set();
let typing = new Map();
let typed = 0;

function roomOfAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || "lobby";
  } catch {
    return "lobby";
  }
}

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function face(person) {
  const made = make("span", "face", [...person.trim()].slice(0, 2).join("").toUpperCase());
  let hue = 0;
  for (const letter of person) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  made.style.setProperty("--hue", hue);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function connect() {
  if (socket) socket.onclose = socket.onmessage = null, socket.close();
  const address = new URL("ws", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  address.search = new URLSearchParams({ room, name, last });
  state(false, last === 0 ? "Connecting…" : "Reconnecting…");
  socket = new WebSocket(address);
  socket.onopen = () => {
    pause = PAUSE_MS_FIRST;
    state(true, "Connected");
  };
  socket.onmessage = (message) => hear(JSON.parse(message.data));
  socket.onclose = () => {
    state(false, "Reconnecting…");
    // Not all at once after a restart: each waits a little differently.
    setTimeout(connect, pause * (0.5 + Math.random() / 2));
    pause = Math.min(pause * 2, PAUSE_MS_MAX);
  };
}

function state(isOn, text) {
  $("state").textContent = text;
  $("state").classList.toggle("on", isOn);
  $("say").querySelector("button").disabled = !isOn;
}

function enter() {
  $("messages").replaceChildren();
  $("people").replaceChildren();
  $("count").textContent = "";
  $("latest").hidden = true;
  $("title").textContent = room;
  $("rename").textContent = `You are ${name} · change`;
  document.title = `#${room}`;
  document.body.classList.remove("side");
  $("menu").setAttribute("aria-expanded", "false");
  [last, seen, typing] = [0, new Set(), new Map()];
  showTyping();
  connect();
}

function hear(news) {
  if (news.kind === "history") {
    for (const message of news.messages) add(message);
    if (seen.size === 0 && !$("messages").querySelector(".none")) $("messages").append(make("li", "none", "Nobody has said anything here yet."));
  } else if (news.kind === "message") {
    typing.delete(news.name);
    showTyping();
    add(news);
  } else if (news.kind === "people") {
    $("count").textContent = news.people.length;
    $("people").replaceChildren(...news.people.map((person) => {
      const item = make("li");
      item.append(face(person), make("span", "", person));
      return item;
    }));
  } else if (news.kind === "rooms") {
    rooms(news.rooms);
  } else if (news.kind === "typing" && news.name !== name) {
    typing.set(news.name, Date.now() + TYPING_MS);
    showTyping();
    setTimeout(showTyping, TYPING_MS + 50);
  } else if (news.kind === "refused") {
    state(true, news.why);
  }
}

function add(message) {
  if (seen.has(message.id)) return;
  seen.add(message.id);
  last = Math.max(last, message.id);
  const list = $("messages");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.querySelector(".none")?.remove();
  const at = new Date(message.at);
  const before = [...list.children].findLast((item) => item.dataset.id);
  if (before?.dataset.day !== at.toDateString()) list.append(make("li", "day", at.toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" })));
  const item = make("li");
  Object.assign(item.dataset, { id: message.id, day: at.toDateString(), name: message.name, at: message.at });
  const isMore = before?.dataset.name === message.name && message.at - before.dataset.at < GROUPED_MS && before.dataset.day === at.toDateString();
  item.classList.toggle("more", Boolean(isMore));
  item.classList.toggle("mine", message.name === name);
  const head = make("p", "head");
  const time = make("time", "", at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = at.toISOString();
  head.append(make("b", "", message.name), time);
  const what = make("div", "what");
  what.append(head, linked(message.text));
  item.append(face(message.name), what);
  list.append(item);
  while (list.children.length > SHOWN_MAX) list.firstChild.remove();
  if (isAtEnd || message.name === name) list.scrollTop = list.scrollHeight;
  else $("latest").hidden = false;
}

// Addresses become links; everything else is text and nothing but text.
function linked(text) {
  const made = make("p", "text");
  for (const [index, part] of text.split(/(https?:\/\/[^\s<>"]+)/).entries()) {
    if (index % 2 === 0) made.append(part);
    else {
      const link = make("a", "", part);
      Object.assign(link, { href: part, target: "_blank", rel: "noopener noreferrer" });
      made.append(link);
    }
  }
  return made;
}

function rooms(all) {
  const known = all.some((other) => other.name === room) ? all : [...all, { name: room, people: 0 }];
  $("rooms").replaceChildren(...known.map((other) => {
    const link = make("a");
    link.href = "#" + encodeURIComponent(other.name);
    if (other.name === room) link.setAttribute("aria-current", "page");
    link.append(make("span", "", other.name), make("small", "", other.people || ""));
    const item = make("li");
    item.append(link);
    return item;
  }));
}

function showTyping() {
  const now = Date.now();
  const people = [...typing].filter(([, until]) => until > now).map(([person]) => person);
  $("typing").textContent = people.length === 0 ? "" : people.length > 2 ? "Several people are typing…"
    : `${people.join(" and ")} ${people.length === 1 ? "is" : "are"} typing…`;
}

function send(news) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(news));
  return true;
}

function grow() {
  $("text").style.height = "auto";
  $("text").style.height = $("text").scrollHeight + 2 + "px";
}

$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text && send({ kind: "say", text })) {
    $("text").value = "";
    typed = 0;
    grow();
  }
};
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("say").requestSubmit();
  }
};
$("text").oninput = () => {
  grow();
  if (Date.now() - typed > TYPING_MS / 2 && send({ kind: "typing" })) typed = Date.now();
};
$("messages").onscroll = ({ target }) => {
  if (target.scrollHeight - target.scrollTop - target.clientHeight < 80) $("latest").hidden = true;
};
$("latest").onclick = () => { $("messages").scrollTop = $("messages").scrollHeight; };
$("menu").onclick = () => {
  const isShown = document.body.classList.toggle("side");
  $("menu").setAttribute("aria-expanded", isShown);
};
document.querySelector("main").addEventListener("click", ({ target }) => {
  if (target !== $("menu")) document.body.classList.remove("side");
});
$("open").onsubmit = (event) => {
  event.preventDefault();
  location.hash = encodeURIComponent(event.target.room.value.trim());
  event.target.reset();
};
$("rename").onclick = ask;
window.onhashchange = () => {
  room = roomOfAddress();
  if (name) enter();
};

function ask() {
  $("name").value = name;
  $("who").showModal();
}
$("who").oncancel = (event) => { if (!name) event.preventDefault(); };
$("who").onclose = () => {
  const chosen = $("name").value.trim();
  if (!chosen) return ask();
  name = chosen;
  localStorage.setItem("name", name);
  enter();
};
if (name) enter();
else ask();
