// Refreshes the console, and asks for confirmation before a release is moved. The page works without it.

import { morph } from "./morph.js";

const EVERY_MS = 3000;
const find = (id) => document.getElementById(id);
const [live, lost, dialog] = [find("live"), find("lost"), find("confirm")];
let failures = 0;

// The browser parses the answer into a document of its own, in which nothing runs.
function fetchDocument(address) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.timeout = 10000;
    request.onload = () => resolve(request);
    request.onerror = request.ontimeout = () => reject(new Error("not reached"));
    request.send();
  });
}

async function refresh() {
  if (!document.hidden && !dialog.open) {
    try {
      const answer = await fetchDocument("/console/live");
      if (answer.status === 401) return location.assign("/console/login");
      if (answer.status !== 200 || !answer.response) throw new Error(`status ${answer.status}`);
      if (!dialog.open) morph(live, answer.response.getElementById("live"));
      failures = 0;
      lost.hidden = true;
    } catch {
      failures += 1;
      lost.textContent = "The API does not answer. What is shown may be out of date; trying again.";
      lost.hidden = failures < 2;
    }
  }
  return setTimeout(refresh, Math.min(30000, EVERY_MS * 2 ** Math.min(failures, 4)));
}

live.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-confirm]");
  if (!form) return;
  event.preventDefault();
  find("confirm-title").textContent = form.dataset.title;
  find("confirm-text").textContent = form.dataset.text;
  find("confirm-reason").value = "";
  find("confirm-why").hidden = "noReason" in form.dataset;
  const button = find("confirm-do");
  button.textContent = form.dataset.label;
  button.className = "danger" in form.dataset ? "danger" : "";
  dialog.querySelector("form").action = form.getAttribute("action");
  dialog.showModal();
});
find("confirm-cancel").addEventListener("click", () => dialog.close());

// A notice reports what was just done; loading the page again should not repeat it.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
setTimeout(refresh, EVERY_MS);
