// Requests a reply from the chat API and passes its text on as it arrives. Knows no page.

export class Refused extends Error {
  constructor(status, message, code, wait) {
    super(message);
    Object.assign(this, { status, code, wait });
  }
}

// Calls onText(wholeTextSoFar, inferenceId); returns { id, text }. Rejects with Refused, AbortError or TypeError.
export async function complete({ model, messages, conversation, signal, onText }) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, messages, stream: true, metadata: { conversation_id: conversation } }),
    credentials: "same-origin",
    signal,
  });
  if (!response.ok) {
    const { error = {} } = await response.json().catch(() => ({}));
    const wait = Number(response.headers.get("Retry-After")) || 0; // seconds
    throw new Refused(response.status, error.message ?? "", error.code, wait);
  }
  let id = response.headers.get("X-Inference-Id");
  let text = "";
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return { id, text };
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(503, chunk.error.message, chunk.error.code);
    id = chunk.id ?? id;
    text += chunk.choices?.[0]?.delta?.content ?? "";
    onText(text, id);
  }
  throw new Refused(502, "", "interrupted");
}

// The data of each server-sent event in a body.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6).trimEnd();
  }
}
