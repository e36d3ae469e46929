// The conversation of this tab: its id and messages { role, content, id?, vote?, stopped? }, kept until the tab closes.

const KEY = "shoptalk.conversation";

export class Memory {
  constructor() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY));
      this.id = kept.id;
      this.messages = kept.messages;
      this.skipped = kept.skipped ?? 0;
    } catch {
      this.clear();
    }
    if (typeof this.id !== "string" || !Array.isArray(this.messages)) this.clear();
  }

  clear() {
    this.id = newId();
    this.messages = [];
    this.skipped = 0; // of the oldest messages, which the model cannot read any more
    this.save();
  }

  // Goes on as another conversation with the same messages: the server refuses this one's id.
  rename() {
    this.id = newId();
    this.save();
  }

  skip(count) {
    this.skipped = count;
    this.save();
  }

  save() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ id: this.id, messages: this.messages, skipped: this.skipped }));
    } catch { /* storage full or forbidden: the conversation lives in this page only */ }
  }

  // Returns the messages to send, without the oldest `skipped` ones.
  history(skipped = 0) {
    return this.messages.slice(skipped).map(({ role, content }) => ({ role, content }));
  }
}

// crypto.randomUUID exists on https and localhost only.
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
