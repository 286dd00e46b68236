// Invitations: the owner makes, copies and revokes links for guests. All texts are set as text.
(() => {
  const find = id => document.getElementById(id);
  const day = text => new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

  async function ask(path, options) {
    const answer = await fetch(path, options);
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const text = await answer.text();
    let message = text;
    try { message = JSON.parse(text).error.message; } catch { /* a plain sentence */ }
    throw new Error(message.slice(0, 300));
  }

  async function attempt(work) {
    find("share-problem").hidden = true;
    try { await work(); } catch (error) {
      find("share-problem").textContent = error.message;
      find("share-problem").hidden = false;
    }
  }

  async function show() {
    const { data, projects, shared_at } = await ask("v1/keys");
    find("share-state").textContent = shared_at
      ? `This studio can be reached at ${shared_at}.`
      : "Links work while the studio is shared: start it with --share, or --host-name for your own network.";
    find("share-projects").replaceChildren(...projects.map(name => Object.assign(document.createElement("option"), { value: name })));
    find("share-keys").replaceChildren(...data.map(line));
  }

  function line(key) {
    const item = document.createElement("li"), text = document.createElement("span"), more = document.createElement("small");
    const revoke = Object.assign(document.createElement("button"), { type: "button", textContent: "Revoke" });
    text.textContent = `${key.role === "make" ? "Makes clips in" : "Watches"} ${key.project || "the whole studio"}`;
    more.textContent = [key.expires ? `until ${day(key.expires)}` : "without an end",
      key.last_used ? `last used ${day(key.last_used)}` : "not used yet"].join(", ");
    text.append(more);
    revoke.addEventListener("click", () => attempt(async () => {
      await ask(`v1/keys/${key.id}`, { method: "DELETE" });
      await show();
    }));
    item.append(text, revoke);
    return item;
  }

  async function create(form) {
    const body = JSON.stringify(Object.fromEntries(new FormData(form)));
    const made = await ask("v1/keys", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    find("share-new").querySelector("input").value = made.url || `/?key=${made.key}`;
    find("share-new").hidden = false;
    await show();
  }

  document.addEventListener("click", event => {
    const act = event.target.dataset?.share;
    if (act === "open") { find("share-new").hidden = true; find("share").showModal(); attempt(show); }
    if (act === "close") find("share").close();
    if (act === "copy") {
      const input = find("share-new").querySelector("input");
      input.select();
      navigator.clipboard?.writeText(input.value).then(() => { event.target.textContent = "Copied"; });
    }
  });
  document.addEventListener("submit", event => {
    if (event.target.id !== "share-form") return;
    event.preventDefault();
    attempt(() => create(event.target));
  });
})();
