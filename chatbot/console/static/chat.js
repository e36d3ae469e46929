// The customer's chat page: shows the conversation, sends messages, explains errors.

import { complete, Refused } from "./completion.js";
import { Memory } from "./memory.js";
import { wireThumbs } from "./thumbs.js";

const find = (id) => document.getElementById(id);
const [main, log, form, field] = [find("main"), find("log"), find("form"), find("message")];
const [send, stop, fresh, welcome] = [find("send"), find("stop"), find("new"), find("welcome")];
const memory = new Memory();
let running = null; // the AbortController of the reply being written

function add(template) {
  const element = find(template).content.firstElementChild.cloneNode(true);
  log.append(element);
  return element;
}

function show(message) {
  const mine = message.role === "user";
  const article = add(mine ? "customer-message" : "bot-message");
  article.querySelector(".text").textContent = message.content;
  if (!mine) finish(article, message);
}

function finish(article, message) {
  article.querySelector(".writing").remove();
  article.querySelector(".stopped").hidden = !message.stopped;
  if (message.id) wireThumbs(article, message, () => memory.save());
}

function refresh() {
  const busy = running !== null;
  const started = memory.messages.length > 0;
  welcome.hidden = started;
  fresh.hidden = !started;
  stop.hidden = !busy;
  send.hidden = busy;
  send.disabled = !field.value.trim();
  log.setAttribute("aria-busy", String(busy));
}

const nearEnd = () => main.scrollHeight - main.scrollTop - main.clientHeight < 80;
const toEnd = () => { main.scrollTop = main.scrollHeight; };

// Sends the history, without its oldest messages where the model cannot read them all. What was too long once is too
// long the next time, and each try counts against the visitor's limit: so the next request leaves as much out at once.
async function ask(signal, onText) {
  let renamed = false;
  for (let step = 2; ;) {
    const skipped = Math.min(memory.skipped, memory.messages.length - 1);
    try {
      const messages = memory.history(skipped);
      return await complete({ model: main.dataset.model, messages, conversation: memory.id, signal, onText });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const last = memory.messages.length - 1;
      if (error.code === "context_length_exceeded" && skipped < last) {
        memory.skip(Math.min(last, skipped + step));
        step *= 2;
      }
      else if (error.status === 404 && !renamed) { renamed = true; memory.rename(); }
      else throw error;
    }
  }
}

async function reply() {
  const controller = new AbortController();
  running = controller;
  const article = add("bot-message");
  const text = article.querySelector(".text");
  const message = { role: "assistant", content: "" };
  refresh();
  toEnd();
  try {
    await ask(controller.signal, (whole, id) => {
      const follow = nearEnd();
      Object.assign(message, { content: whole, id });
      text.textContent = whole;
      if (follow) toEnd();
    });
    if (running === controller) settle(article, message);
  } catch (error) {
    if (running !== controller) return; // the conversation was left
    if (controller.signal.aborted) settle(article, { ...message, stopped: true });
    else {
      article.remove();
      complain(error);
    }
  } finally {
    if (running === controller) {
      running = null;
      refresh();
    }
  }
}

function settle(article, message) {
  const follow = nearEnd();
  finish(article, message);
  if (message.content) {
    memory.messages.push(message);
    memory.save();
  }
  if (follow) toEnd();
}

function complain(error) {
  const box = add("problem");
  const again = box.querySelector("button");
  box.querySelector("p").textContent = explain(error);
  if (error instanceof Refused && error.code === "context_length_exceeded") again.remove();
  else if (error instanceof Refused && error.status === 401) {
    again.textContent = "Load the page again";
    again.addEventListener("click", () => location.reload());
  } else {
    again.addEventListener("click", () => {
      box.remove();
      field.focus();
      reply();
    });
  }
  toEnd();
}

function explain(error) {
  if (!(error instanceof Refused)) return "We could not be reached. Please check your connection.";
  if (error.code === "context_length_exceeded") return "Your message is too long for us. Please shorten it.";
  if (error.code === "interrupted") return "The reply was interrupted.";
  if (error.status === 401) return "Your session has ended.";
  if (error.status === 429) return `We are very busy right now. Please try again in ${moment(error.wait)}.`;
  if (error.status >= 500) return "Something went wrong on our side. Your message was not lost.";
  return error.message || "The message could not be sent.";
}

const moment = (seconds) => {
  if (seconds <= 5) return "a moment";
  return seconds < 90 ? `${seconds} seconds` : `${Math.ceil(seconds / 60)} minutes`;
};

function say(content) {
  if (running || !content.trim()) return;
  log.querySelector(".problem")?.remove();
  const message = { role: "user", content: content.trim() };
  memory.messages.push(message);
  memory.save();
  show(message);
  reply();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const content = field.value;
  if (running || !content.trim()) return;
  field.value = "";
  field.rows = 1;
  say(content);
  field.focus();
});

field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
field.addEventListener("input", () => {
  field.rows = Math.min(6, field.value.split("\n").length); // for browsers without field-sizing
  refresh();
});

stop.addEventListener("click", () => {
  running?.abort();
  field.focus();
});

fresh.addEventListener("click", () => {
  const left = running;
  running = null;
  left?.abort();
  memory.clear();
  log.replaceChildren();
  refresh();
  field.focus();
});

for (const starter of welcome.querySelectorAll("button")) {
  starter.addEventListener("click", () => {
    say(starter.textContent);
    field.focus();
  });
}

memory.messages.forEach(show);
refresh();
toEnd();
field.focus();
if (memory.messages.at(-1)?.role === "user") complain(new Refused(502, "", "interrupted"));
