// The thumbs under a reply, and the comment after a thumb down.

import { newId } from "./memory.js";

// Sets the `vote` of `message`; calls `changed` when it should be saved.
export function wireThumbs(article, message, changed) {
  const group = article.querySelector(".rating");
  const buttons = [...group.querySelectorAll(".thumb")];
  const thanks = group.querySelector(".thanks");
  const comment = article.querySelector(".comment");
  const show = () => buttons.forEach((b) => b.setAttribute("aria-pressed", String(Number(b.dataset.value) === message.vote)));
  let attempt = {};

  for (const button of buttons) {
    button.addEventListener("click", async () => {
      const value = Number(button.dataset.value);
      if (message.vote === value) return;
      const before = message.vote;
      message.vote = value;
      show();
      if (attempt.value !== value) attempt = { value, key: newId() };
      const ok = await send({ inference_id: message.id, metric: "thumbs", value, idempotency_key: attempt.key });
      if (!ok) message.vote = before;
      else attempt = {};
      show();
      thanks.textContent = ok ? "Thank you." : "Could not be saved. Please try again.";
      comment.hidden = !(ok && value === 0);
      if (!comment.hidden) comment.scrollIntoView({ block: "nearest" });
      changed();
    });
  }

  const commentKey = newId();
  comment.addEventListener("submit", async (event) => {
    event.preventDefault();
    const words = comment.elements.comment.value.trim();
    if (!words) return;
    const ok = await send({
      inference_id: message.id, metric: "thumbs", value: 0, comment: words, idempotency_key: commentKey,
    });
    thanks.textContent = ok ? "Thank you for telling us." : "Could not be saved. Please try again.";
    if (!ok) return;
    comment.hidden = true;
    buttons[1].focus();
  });

  show();
  group.hidden = false;
}

async function send(body) {
  try {
    const response = await fetch("/v1/feedback", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "same-origin",
    });
    return response.ok;
  } catch {
    return false;
  }
}
