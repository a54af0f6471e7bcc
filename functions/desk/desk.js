// The review desk: a queue of verifications that a person should decide, and one verification with reasons, comparison, decision and
// timeline.
//
// The page keeps its data only in this module's memory, which ends with the tab. Names are loaded only after a click, and are removed from
// the screen after some minutes, when the reviewer leaves, and when the tab is hidden. All text is added to the page as text: see `h`.

const settings = JSON.parse(document.getElementById("settings").textContent);
const SECOND = 1000, MINUTE = 60 * SECOND;
const SHOWN_FOR = 5 * MINUTE, WARNED_BEFORE = MINUTE, HIDDEN_TAB_FOR = MINUTE;
const FRESH = 20 * SECOND, PATIENCE = 5 * SECOND;
const ASK_AGAIN = 30 * SECOND, COURTESY = 5 * MINUTE, TIME_LIMIT = 30 * SECOND;
const TRIES = 3, PAGE = 50;
const VERIFICATION = /^ver_[0-9a-f]{32}$/, CONNECTED = /^acct_[A-Za-z0-9_]{1,250}$/, REFERENCE = /^[A-Za-z0-9._:/-]{1,64}$/;

const OUTCOMES = { match: "match", close_match: "close match", no_match: "no match", not_verifiable: "not verifiable" };
const FIELDS = { name: "Name", address: "Address", phone: "Phone", email: "E-mail" };
const UNREADABLE = new Set(["ACCOUNT_DISCONNECTED", "CLAIM_ERASED", "OWNERS_ERASED"]);
const GONE = { "account-erased": "The account was erased", "claim-erased": "The claim was erased",
  "owners-erased": "The owners were erased" };
const KEYS = [
  ["j, k", "next or previous row of the queue"], ["Enter", "open the row; with no row chosen, the oldest"], ["n", "next review"],
  ["v", "show names, or hide them"], ["a, r", "approve or reject"], ["Ctrl + Enter", "check the decision, then confirm it"],
  ["Esc", "back: from confirming to the form, from the review to the queue"], ["?", "these keys"],
];

// ---- Elements and words ----------------------------------------------------------------------------------------------------------------

/** An element with attributes (`onclick`: a listener; false, null: left out) and children. Text is appended as text, never parsed. */
function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const find = (id) => document.getElementById(id);
const UNSEEN = "[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Co}\\p{Cn}\\p{Zl}\\p{Zp}\\p{DI}\\u2800]";
const SPLIT = new RegExp(`(${UNSEEN})`, "u"), ONE = new RegExp(UNSEEN, "u");

/** Text from outside as nodes: each invisible character, or one that changes the direction of text, is shown as a box with its number. */
function visible(text) {
  return String(text).split(SPLIT).filter(Boolean).map((part) => ONE.test(part) ? h("span", { class: "code", dir: "ltr" },
    `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`) : part);
}

/** A value in parts. The parts that differ are marked visibly and for screen readers. */
function value(parts) {
  // The hidden words are in a bdi of their own, so that they do not set the direction of the name.
  return h("bdi", { class: "value" }, parts.map((part) => part.differs
    ? h("mark", {}, h("bdi", { class: "unseen" }, "differs: "), visible(part.text)) : visible(part.text)));
}

const sentence = (code) => settings.sentences[code] ?? settings.approve[code] ?? settings.reject[code] ?? code;
/** The reasons that can be shown beside each other: NORMALISED would contradict those that say that names or parties differ. */
const together = (reasons) => reasons.filter((code) => code !== "NORMALISED" || !reasons.some((one) => settings.unlike.includes(one)));
const clause = (code) => sentence(code).replace(/\.$/, "");
const small = (text) => text.charAt(0).toLowerCase() + text.slice(1);
const closedBecause = (code) => small((settings.closed[code] ?? code).replace(/\.$/, ""));
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const short = (id) => id.length > 16 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id;
const outcome = (code) => OUTCOMES[code] ?? code;
/** A short form that distinguishes people of one issuer: the end of the name, or both ends of a long one. */
const person = (by) => short((by ?? "").split(/[#/]/).pop());
const who = (by) => by === queue.you ? "you" : person(by);
const Who = (by) => by === queue.you ? "You" : `Another reviewer (${who(by)})`;
const points = (score) => score === null || score === undefined ? "–" : String(Math.round(score));
const clock = (at) => new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = (at) => new Date(at).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
const moment = (at) => day(at) === day(Date.now()) ? `at ${clock(at)}` : `on ${day(at)} at ${clock(at)}`;

/** How long something lasts, by its two largest units: "3 d 4 h". */
function span(milliseconds) {
  const minutes = Math.max(0, Math.floor(milliseconds / MINUTE)), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (days) return `${days} d${hours % 24 ? ` ${hours % 24} h` : ""}`;
  if (hours) return `${hours} h${minutes % 60 && hours < 6 ? ` ${minutes % 60} min` : ""}`;
  return minutes ? `${minutes} min` : "< 1 min";
}

const since = (at) => span(Date.now() - Date.parse(at));
const ago = (at) => Date.now() - Date.parse(at) < MINUTE ? "just now" : `${since(at)} ago`;

/** Say something to a screen reader that is also visible on the page. */
function say(text) {
  // A screen reader reads the same words again only if they were removed in between.
  const box = find("said");
  if (!box) return;
  box.textContent = "";
  setTimeout(() => { box.textContent = text; }, 50);
}

/** While its action runs, a button ignores presses but keeps the focus, which a disabled button would lose. */
function busy(button, on = true) {
  if (on) button?.setAttribute("aria-disabled", "true");
  else button?.removeAttribute("aria-disabled");
}

const isBusy = (button) => button?.getAttribute("aria-disabled") === "true";

/** Put children into a node. Focus and caret stay at their element. If it is gone, the nearest heading gets the focus. */
function fill(node, ...children) {
  const active = document.activeElement, inside = node !== active && node.contains(active);
  const caret = inside && active.matches("textarea, input:not([type=radio], [type=checkbox])") ? [active.selectionStart,
    active.selectionEnd] : null;
  node.replaceChildren(...children.flat(9).filter(Boolean));
  if (!inside) return;
  const again = active.id ? find(active.id) : null;
  if (!again || again.disabled) return void (node.querySelector("h1, h2[tabindex]") ?? find("title"))?.focus({ preventScroll: true });
  again.focus({ preventScroll: true });
  if (caret) again.setSelectionRange(...caret);
}

// ---- The API ---------------------------------------------------------------------------------------------------------------------------

/** A failed call, in words for a person. `problem`: the API's problem document, if there is one. */
class Failure extends Error {
  constructor(words, { status = 0, problem = {}, request = "", ended = false, wait = 0 } = {}) {
    super(words);
    Object.assign(this, { status, problem, request, ended, type: String(problem.type ?? "").split(":").pop(),
      until: Date.now() + wait });
  }
}

let session = null;
const ENDED = "Your session has ended. Sign in again; what you typed is kept.";

/** Call the API. If repeating it does no harm, a call that fails temporarily is tried three times in all before the failure is reported. */
async function call(method, path, { tenant = null, body, tries = TRIES } = {}) {
  for (let left = tries; ; left -= 1) {
    try {
      return await callOnce(method, path, tenant, body);
    } catch (failure) {
      const asked = failure.until - Date.now(), wait = Math.max(asked, (tries - left + 1) * SECOND / 2);
      // If the API asks for a long wait, the reviewer decides when to try again.
      if (left <= 1 || failure.ended || asked > PATIENCE || ![0, 429, 502, 503, 504].includes(failure.status)) throw failure;
      await new Promise((done) => setTimeout(done, wait));
    }
  }
}

async function callOnce(method, path, tenant, body, refused) {
  let token, answer, data = null;
  try {
    token = await session.token(refused);
  } catch (error) {
    // An issuer that does not answer is a temporary failure.
    if (error.code === "issuer_unreachable") throw new Failure("The issuer that renews your sign-in could not be reached.");
    sessionEnded();
    throw new Failure(ENDED, { ended: true });
  }
  const headers = { Authorization: `Bearer ${token}`, Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (tenant) headers["Stripe-Account"] = tenant;
  try {
    answer = await fetch(new URL(path, document.baseURI), {
      method, headers, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit", redirect: "error",
      signal: AbortSignal.timeout(TIME_LIMIT),
    });
    const text = await answer.text();
    try { data = JSON.parse(text); } catch { /* Not JSON: see below. */ }
  } catch (error) {
    throw new Failure(error.name === "TimeoutError" ? "The API did not answer in time."
      : "The API could not be reached. Check your connection.");
  }
  if (answer.ok && data) return data;
  // A network that requires a sign-in of its own answers with a page.
  if (answer.ok) throw new Failure("The answer is not from the API. Check your connection.");
  data ??= {};
  if (answer.status === 401 && !refused) return callOnce(method, path, tenant, body, token);
  const request = answer.headers.get("apigw-requestid") ?? answer.headers.get("x-amzn-requestid") ?? "";
  if (answer.status === 401) sessionEnded();
  throw new Failure(words(answer, data), { status: answer.status, problem: data, request, ended: answer.status === 401,
    wait: waitOf(answer) });
}

/** How long the API asks to wait, in milliseconds. */
function waitOf(answer) {
  const text = answer.headers.get("retry-after");
  if (!text) return 0;
  return Math.max(0, /^\d+$/.test(text) ? Number(text) * SECOND : Date.parse(text) - Date.now() || 0);
}

function words(answer, problem) {
  const wait = Math.ceil(waitOf(answer) / SECOND), detail = problem.detail ?? "";
  const later = wait ? ` Wait ${wait < 120 ? `${wait} s` : span(wait * SECOND)} before you try again.` : "";
  if (answer.status === 401) return ENDED;
  if (answer.status === 429) return `Too many requests were made at once. ${detail}${later}`;
  if (answer.status === 422 && problem.errors) {
    return `The API refused this: ${problem.errors.map((one) => `${one.field}: ${one.detail}`).join("; ")}`;
  }
  if (answer.status === 403 && !detail) return "Your sign-in does not allow this.";
  if (answer.status >= 500) return `The API could not answer (${answer.status}). ${detail}${later}`;
  return detail || `The API refused this (${answer.status}).`;
}

/** A failure on the screen: words, the request's id, and a button that repeats the failed action, once the API's time to wait is over. */
function trouble(failure, again) {
  const button = again && h("button", { type: "button", onclick: () => isBusy(button) || again() }, "Try again");
  const wait = failure.until - Date.now();
  if (button && wait > 0) {
    busy(button);
    setTimeout(() => busy(button, false), wait);
  }
  return h("div", { class: failure.ended ? "notice bad ended" : "notice bad", role: "alert", tabindex: "-1" },
    h("p", {}, failure.message.trim()), failure.request && h("p", { class: "small" }, "Request id ", h("code", {}, failure.request)),
    button);
}

// ---- Session ---------------------------------------------------------------------------------------------------------------------------

function sessionEnded() {
  hideNames();
  if (find("again") || signedOut) return;
  const button = h("button", { type: "button", id: "again", onclick: signInAgain }, "Sign in again");
  fill(find("bar"), h("div", { class: "bar", role: "alert" },
    h("p", { id: "ended" }, "Your session has ended. What you typed is kept. "), button));
}

/** Counts the sign-ins on this page, so that an answer for one person is not shown to another. */
let signedIn = 0;

async function signInAgain() {
  try {
    await session.signInAgain();
  } catch (error) {
    // A later press has replaced this one. The page cannot notice that the window was closed, so the button can be pressed at any time.
    if (error.code === "interrupted") return;
    if (find("ended")) find("ended").textContent = `Signing in did not work: ${error.message} What you typed is kept. `;
    return;
  }
  signedIn += 1;
  await welcome();
}

/** After signing in again: the person may be another one, with other rights. */
async function welcome() {
  const before = JSON.stringify([queue.you, queue.may]), loaded = queue.loaded > 0;
  // Until the person is known, nothing can be decided or shown.
  queue.may = null;
  queue.loaded = 0;
  fill(find("bar"), h("p", { class: "bar", role: "status" }, "Signing you in…"));
  try {
    await loadQueue({ tenant: place().tenant, state: queue.state });
  } catch (failure) {
    if (!failure.ended) fill(find("bar"), trouble(failure, welcome));
    return;
  }
  find("bar").replaceChildren();
  for (const node of document.querySelectorAll(".notice.ended")) node.remove();
  if (!loaded || before !== JSON.stringify([queue.you, queue.may]) || (detail && !detail.data)) {
    // Each person has their own drafts.
    await route();
    say("You are signed in again.");
    return;
  }
  say("You are signed in again.");
  if (detail) await refreshDetail();
  else showQueue();
  (find("confirm-box") ?? find("check") ?? document.querySelector("h1"))?.focus();
}

function showWho() {
  fill(find("who"), h("span", { class: settings.mode === "live" ? "mode live" : "mode" }, settings.mode === "live" ? "live" : "test mode"),
    queue.you && h("span", {}, "You: ", h("code", { title: queue.you }, visible(person(queue.you)))),
    h("button", { type: "button", id: "signout", class: "plain", onclick: signOut }, "Sign out"));
}

const typed = () => [...drafts.values()].some((draft) => draft.note || draft.reference);

let signedOut = false;

async function signOut() {
  if (typed() && !confirm("What you typed and did not send will be lost. Sign out?")) return;
  clearPage("Signing you out…");
  if (await session.signOut() === false) clearPage("You are signed out of the desk", "You may still be signed in at the sign-in service.");
}

/** Remove everything from the page, because the next person at this machine may be another one. */
function clearPage(title, words = "") {
  signedOut = true;
  queue.asked = null;
  leave();
  drafts.clear();
  document.title = "Signed out · Review desk";
  document.body.replaceChildren(h("main", {}, h("h1", { id: "title", tabindex: "-1" }, title), words && h("p", {}, words),
    words && h("p", {}, h("a", { href: location.pathname }, "Sign in"))));
  find("title").focus();
}

// ---- Where we are ----------------------------------------------------------------------------------------------------------------------

/** What the URL names: a tenant, a list of the queue, a verification. It contains only ids. */
function place() {
  const parts = location.hash.replace(/^#\/?/, "").split("/");
  const tenant = CONNECTED.test(parts[0]) ? parts.shift() : null;
  const [name = ""] = parts, id = VERIFICATION.test(name) ? name : null;
  return { tenant, state: name === "proposed" ? name : "open", id, wrong: !id && !["", "proposed"].includes(name) };
}

const address = ({ tenant, state, id }) => `#/${[tenant, id ?? (state === "proposed" ? state : null)].filter(Boolean).join("/")}`;
const addressOf = (review) => address({ tenant: review.stripe_account ?? queue.tenant, id: review.verification });

function go(target) {
  if (location.hash === target) route();
  else location.hash = target;
}

async function route() {
  if (signedOut) return;
  const there = place(), from = detail?.id;
  leave();
  [flash, coming] = [coming, null];
  if (there.wrong) flash = "The address names no verification, so this is the queue.";
  if (there.id) await openDetail(there);
  else await openQueue(there, from);
}

function leave() {
  hideNames();
  detail = null;
}

// ---- The queue -------------------------------------------------------------------------------------------------------------------------

const queue = { tenant: null, state: "open", reason: "", rows: [], cursor: null,
  pages: 0, open: null, other: null, you: "", may: null, unknown: null, loaded: 0, asked: null };
/** The message at the top of this screen, and of the next one. */
let flash = null, coming = null;

const NAMELESS = "Your sign-in does not say who you are";

const may = (what) => queue.may?.includes(what) ?? false;

/**
 * Load a list (as many pages as were on the screen) or its next page. False: the reviewer has chosen another list or filter meanwhile, so
 * nothing may be drawn.
 */
async function loadQueue(there, { more = false } = {}) {
  const mine = queue.asked = {}, era = signedIn;
  const same = queue.tenant === there.tenant && queue.state === there.state;
  const get = (query) => call("GET", `reviews?${new URLSearchParams(query)}`, { tenant: there.tenant });
  const list = { state: there.state, limit: String(PAGE) };
  if (queue.reason) list.reason = queue.reason;
  // A failure of the other list's count needs no message.
  const beside = more ? null : call("GET", `reviews?${new URLSearchParams({ state: there.state === "open" ? "proposed" : "open",
    limit: "1" })}`, { tenant: there.tenant, tries: 1 }).catch(() => null);
  let page, pages = more ? queue.pages : 0, cursor = more ? queue.cursor : null;
  const rows = more ? [...queue.rows] : [], wanted = more ? pages + 1 : same ? Math.max(queue.pages, 1) : 1;
  try {
    do {
      page = await get(cursor ? { ...list, cursor } : list);
      if (era === signedIn) Object.assign(queue, { you: page.you, may: page.may, unknown: page.caller_unknown });
      if (queue.asked !== mine) return false;
      const known = new Set(rows.map((row) => row.verification));
      rows.push(...page.reviews.filter((row) => !known.has(row.verification)));
      cursor = page.next_cursor;
      pages += 1;
    } while (cursor && pages < wanted);
  } catch (failure) {
    if (queue.asked !== mine) return false;
    throw failure;
  }
  const other = await beside;
  if (queue.asked !== mine) return false;
  Object.assign(queue, { tenant: there.tenant, state: there.state, cursor, pages, open: page.open, rows });
  if (!more) Object.assign(queue, { other: other?.open ?? null, loaded: Date.now() });
  showWho();
  return true;
}

/** `from`: the verification that the reviewer has left. Its row gets the focus. */
async function openQueue(there, from = null) {
  document.title = "Queue · Review desk";
  const fresh = queue.loaded && queue.tenant === there.tenant && queue.state === there.state;
  if (!fresh) Object.assign(queue, { rows: [], pages: 0, cursor: null, open: null, other: null, reason: "", tenant: there.tenant,
    state: there.state });
  showQueue({ loading: true });
  focusTitle();
  find(`row-${from}`)?.focus();
  await reload(there);
  if (document.activeElement === find("title")) find(`row-${from}`)?.focus();
}

/** Load the list that is on the screen. Returns whether it is there now. */
async function reload(there) {
  try {
    if (!await loadQueue(there) || !isHere(there)) return false;
  } catch (failure) {
    if (isHere(there)) showQueue({ failure });
    return false;
  }
  showQueue();
  return true;
}

/** A new screen gets the focus at its heading. For the first screen, the browser decides. */
function focusTitle() {
  scrollTo(0, 0);
  if (moved) find("title").focus({ preventScroll: true });
  moved = true;
}

let moved = false;
const isHere = (there) => address(place()) === address(there);

function showQueue({ loading = false, failure = null } = {}) {
  const there = { tenant: queue.tenant, state: queue.state };
  const tab = (state, name, count) => h("a", { href: address({ ...there, state }), "aria-current": queue.state === state ? "page" : null },
    name, count !== null && h("span", { class: "count" }, String(count)));
  const counts = queue.state === "open" ? [queue.open, queue.other] : [queue.other, queue.open];
  const body = failure ? trouble(failure, () => openQueue(place())) : loading && !queue.rows.length ? h("p",
    { class: "quiet", "aria-busy": "true" }, "Loading the queue…")
    : queue.rows.length ? table() : empty();
  fill(find("main"), flashed(),
    h("div", { class: "head" }, h("h1", { id: "title", tabindex: "-1" }, "Queue"),
      queue.tenant && h("p", { class: "small" }, "of ", h("code", {}, queue.tenant), " ",
        h("a", { href: "#/" }, "Show the platform's queue")),
      !failure && h("button", { type: "button", id: "start", class: "main", disabled: !queue.rows.length,
        onclick: openOldest }, "Start with the oldest")),
    h("div", { class: "tools" },
      h("nav", { class: "tabs", "aria-label": "Lists" }, tab("open", "To review", counts[0]),
        tab("proposed", "Needs a second reviewer", counts[1])),
      reasonFilter(there), goTo()),
    h("div", { id: "list", "aria-busy": loading ? "true" : null }, body), more());
}

function empty() {
  const again = h("button", { type: "button", id: "refresh", onclick: lookForNew }, "Look again");
  // A page looks through a part of the stack's queue, in which other tenants' reviews and other reasons may come first.
  if (queue.cursor) return h("div", { class: "nothing" }, h("p", {}, "Nothing was found so far. There is more to look through."));
  if (queue.reason) return h("div", { class: "nothing" }, h("p", {}, "Nothing with this reason waits."), h("button", { type: "button",
    onclick: () => filter("") }, "Show all reasons"));
  const text = queue.state === "open" ? "New close matches appear here." : "Approvals that a second reviewer has to confirm appear here.";
  return h("div", { class: "nothing" }, h("p", { class: "large" }, "Nothing waits."), h("p", {}, text), again);
}

async function lookForNew() {
  const button = find("refresh");
  if (isBusy(button)) return;
  busy(button);
  if (await reload(place())) say(queue.rows.length ? `${queue.rows.length} shown.` : "Nothing waits.");
}

function table() {
  const head = ["Waiting", "Verification", "Account", "Score", "Why", "Names seen"];
  return h("table", { class: "cards", role: "table" }, h("caption", { class: "unseen" }, "Reviews, the longest waiting first"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head.map((name) => h("th", { scope: "col", role: "columnheader" }, name)))),
    h("tbody", { id: "rows", role: "rowgroup" }, queue.rows.map(row)));
}

function row(review) {
  const href = addressOf(review), cell = (label, ...children) => h("td", { role: "cell", "data-label": label }, h("div", {}, ...children));
  const [first, ...others] = together(review.reasons ?? []);
  const open = (event) => { if (!event.target.closest("a") && !String(getSelection())) go(href); };
  return h("tr", { role: "row", onclick: open }, cell("Waiting",
    h("span", { title: review.opened_at }, span(review.age * SECOND + Date.now() - queue.loaded))),
    cell("Verification", h("a", { href, id: `row-${review.verification}`, title: review.verification }, short(review.verification))),
    cell("Account", h("code", { title: review.account }, short(review.account))), cell("Score", points(review.score)),
    cell("Why", review.outcome !== "close_match" && h("span", { class: "tag" }, capital(outcome(review.outcome))),
      review.opened_by === "manual" && h("span", { class: "tag" }, "opened by a back end"), first ? clause(first) : "–",
      others.length > 0 && h("span", { class: "quiet", title: others.map(clause).join("; ") }, ` and ${others.length} more`)),
    cell("Names seen", review.seen ? review.seen.by_you ? `by you, ${ago(review.seen.at)}` : ago(review.seen.at) : "–"));
}

function more() {
  return queue.cursor && h("p", { class: "more" }, h("button", { type: "button", id: "more", onclick: loadMore }, `Load ${PAGE} more`));
}

async function loadMore() {
  const there = place(), before = queue.rows.length, button = find("more"), place_ = button.parentNode;
  if (isBusy(button)) return;
  busy(button);
  let loaded;
  try {
    loaded = await loadQueue(there, { more: true });
  } catch (failure) {
    if (!isHere(there) || !place_.isConnected) return;
    place_.replaceChildren(trouble(failure, () => { place_.replaceChildren(button); busy(button, false); button.focus(); loadMore(); }));
    place_.firstChild.focus();
    return;
  }
  if (!loaded || !isHere(there)) return;
  const added = queue.rows.slice(before);
  if (find("rows")) find("rows").append(...added.map(row));
  else fill(find("list"), queue.rows.length ? table() : empty());
  place_.replaceWith(more() || "");
  say(added.length ? `${added.length} more loaded.` : "Nothing was found in this part.");
  (added.length ? find(`row-${added[0].verification}`) : find("more") ?? find("title")).focus();
}

function reasonFilter() {
  const here = [...new Set(queue.rows.flatMap((review) => review.reasons ?? []))];
  const rest = Object.keys(settings.sentences).filter((code) => !here.includes(code));
  const option = (code) => h("option", { value: code, selected: code === queue.reason }, clause(code));
  return h("label", { class: "field" }, "Reason ", h("select", { id: "reason-filter", onchange: (event) => filter(event.target.value) },
    h("option", { value: "" }, "All"), here.length > 0 && h("optgroup", { label: "In this list" }, here.map(option)),
    h("optgroup", { label: "Others" }, rest.map(option))));
}

async function filter(reason) {
  Object.assign(queue, { reason, pages: 1 });
  flash = null;
  showQueue({ loading: true });
  const loaded = await reload(place());
  if (queue.reason !== reason || detail) return;
  find("reason-filter")?.focus();
  if (loaded) say(queue.rows.length ? `${queue.rows.length} shown.` : document.querySelector(".nothing p")?.textContent ?? "");
}

/** The field to go to a verification by its id. Typed text stays in it when the list arrives. */
function goTo() {
  const before = find("goto");
  const open = (event) => {
    event.preventDefault();
    const id = find("goto").value.trim(), wrong = !VERIFICATION.test(id) && !CONNECTED.test(id);
    find("goto").setAttribute("aria-invalid", String(wrong));
    find("goto-wrong").textContent = wrong
      ? "Not an id. A verification's begins with ver_ and has 36 characters; a connected account's begins with acct_." : "";
    if (wrong) return;
    find("goto").value = "";
    go(VERIFICATION.test(id) ? address({ tenant: queue.tenant, id }) : address({ tenant: id }));
  };
  return h("form", { class: "field", onsubmit: open, novalidate: true }, h("label", { for: "goto" }, "Go to "),
    h("input", { id: "goto", placeholder: "ver_…", autocomplete: "off", spellcheck: "false", "aria-describedby": "goto-wrong",
      value: before?.value, "aria-invalid": before?.getAttribute("aria-invalid") }),
    h("button", {}, "Go"), h("span", { id: "goto-wrong", class: "wrong", role: "alert" }, find("goto-wrong")?.textContent));
}

const flashed = () => flash && h("p", { class: "notice good" }, flash);

const seenByOther = (seen) => seen && !seen.by_you && Date.now() - Date.parse(seen.at) < COURTESY;
let walking = false;

const openOldest = () => walking || walk(null);
const next = () => walking || walk(detail);

/**
 * Open the review after a given one in the list, or the oldest. Reviews whose names another reviewer has seen in the last minutes come last,
 * but they are not locked. After the end of the list it begins again. Returns whether a review was opened.
 */
async function walk(from) {
  const there = { tenant: queue.tenant, state: queue.state }, here = location.hash;
  const id = from?.id ?? null, opened = from?.data?.review?.opened_at ?? "";
  const free = (rows) => rows.find((review) => review.verification !== id && !seenByOther(review.seen));
  // The list is ordered by the time of opening, so a review that is no longer in it still has a position.
  const begin = () => {
    const at = queue.rows.findIndex((review) => review.verification === id);
    if (at >= 0) return at + 1;
    const after = id ? queue.rows.findIndex((review) => review.opened_at > opened) : 0;
    return after < 0 ? queue.rows.length : after;
  };
  walking = true;
  try {
    // Without an answer, use the list that was loaded before.
    if (Date.now() - queue.loaded > FRESH) await loadQueue(there).catch(() => {});
    for (let more = 0; !free(queue.rows.slice(begin())) && queue.cursor && more < TRIES; more += 1) {
      if (!await loadQueue(there, { more: true }).catch(() => false)) break;
    }
  } finally {
    walking = false;
  }
  // The reviewer went elsewhere meanwhile.
  if (location.hash !== here || detail !== (from ?? detail)) return null;
  const others = queue.rows.filter((review) => review.verification !== id);
  const found = free(queue.rows.slice(begin())) ?? free(queue.rows) ?? others[0];
  const alone = found && seenByOther(found.seen) && "Another reviewer has looked at the names of all remaining reviews in the last minutes. "
    + "This is the oldest of them.";
  const text = alone || !found && (id ? "Nothing else waits in this list." : "Nothing waits in this list.");
  if (text) {
    coming = coming ? [coming, " ", text] : text;
    say(text);
  }
  go(found ? addressOf(found) : address(there));
  return Boolean(found);
}

// ---- One verification ------------------------------------------------------------------------------------------------------------------

let detail = null;
/** Drafts, by person and verification. A draft is kept until it is sent, even while another verification is on the screen. */
const drafts = new Map();

const draftKey = (id) => `${queue.you} ${id}`;
const draftOf = (id) => drafts.get(draftKey(id)) ?? drafts.set(draftKey(id), { decision: "", reason: "", reference: "",
  note: "" }).get(draftKey(id));
const waits = (review) => review && review.state !== "closed";
const readTimeline = (view) => call("GET", `verifications/${view.id}/timeline`, { tenant: view.tenant });

async function openDetail(there) {
  // `checked`: when the API last answered with the review's state. `asked`: when it was last asked. `sending`: a decision is being sent.
  // `sent`: a decision that may or may not have been stored.
  const view = { ...there, data: null, checked: 0, asked: 0, misses: 0, unchecked: "", confirming: false, sending: false, sent: null,
    names: null, gone: false };
  detail = view;
  document.title = `${short(view.id)} · Review desk`;
  fill(find("main"),
    h("div", { class: "head" }, h("a", { href: address({ tenant: queue.tenant, state: queue.state }), id: "back" }, "‹ Queue"),
      h("h1", { id: "title", tabindex: "-1" }, h("span", { id: "kind" }, "Review"), " ", h("code", {}, view.id)),
      h("button", { type: "button", id: "next", onclick: next }, "Next ", h("kbd", {}, "n"))),
    flashed(), h("p", { id: "facts", class: "facts" }), h("div", { id: "notices" }), h("div", { id: "parts" }, h("p",
      { class: "quiet", "aria-busy": "true" }, "Loading…")));
  focusTitle();
  try {
    const known = queue.loaded && queue.may && queue.tenant === view.tenant ? null : loadQueue({ tenant: view.tenant, state: "open" });
    [view.data] = await Promise.all([readTimeline(view), known]);
  } catch (failure) {
    if (detail === view) fill(find("parts"), trouble(failure, () => openDetail(there)));
    return;
  }
  if (detail !== view) return;
  view.checked = view.asked = Date.now();
  fill(find("parts"), h("section", { id: "why", "aria-labelledby": "why-title" }),
    h("section", { id: "comparison", translate: "no", "aria-labelledby": "comparison-title" }), h("div", { class: "columns" },
      h("section", { id: "decision", "aria-labelledby": "decision-title" }), h("section", { id: "way", "aria-labelledby": "way-title" })));
  showFacts();
  showWhy();
  showComparison();
  showDecision();
  showTimeline();
  if (!flash) say(find("notices").textContent);
}

/** Load a review's state again, and show what changed. Drafts stay as they are. `wanted`: the reviewer asked for it. */
async function refreshDetail({ wanted = false } = {}) {
  const view = detail;
  if (!view?.data) return;
  view.asked = Date.now();
  try {
    const data = await call("GET", `verifications/${view.id}/timeline`, { tenant: view.tenant, tries: 1 });
    Object.assign(view, { checked: Date.now(), misses: 0, unchecked: "" });
    // The answer to a decision that is being sent comes first.
    if (detail === view && !view.sending) changedTo(data.review, data);
  } catch (failure) {
    view.misses += 1;
    view.asked = Math.max(view.asked, failure.until);
    if (detail !== view || failure.ended) return;
    if (wanted) {
      view.unchecked = `The check ${moment(Date.now())} did not work: ${failure.message.trim()}`;
      say(view.unchecked);
    }
    if (view.misses >= TRIES) showFacts();
  }
}

/** Whether a review has a decision that this page has sent without getting an answer. */
function holds(review, sent) {
  return Boolean(sent && review && (review.decisions ?? []).slice(sent.known).some((one) => one.by === queue.you
    && one.decision === sent.decision && (one.reason ?? "") === sent.reason));
}

/** Show a newer state of the review: by another reviewer, by the system, or after a decision that came too late. */
function changedTo(review, data = null) {
  const before = detail.data.review;
  // An answer to an earlier request may come later.
  if (before && (review?.version ?? 0) < before.version) return;
  if (holds(review, detail.sent)) {
    detail.sent = null;
    drafts.delete(draftKey(detail.id));
  }
  if (data) detail.data = data;
  else detail.data = { ...detail.data, review: { ...review, seen: review.seen ?? before?.seen } };
  const same = before?.version === review?.version && before?.state === review?.state;
  showFacts();
  if (data) showTimeline();
  if (same) return;
  detail.confirming = false;
  // Names are shown only for deciding, and the review is decided.
  if (!waits(review)) detail.names = null;
  showDecision();
  showComparison();
  say(standing(review) || "The review changed.");
}

function showFacts() {
  find("kind").textContent = detail.data.review ? "Review" : "Verification";
  const { verification, review } = detail.data, verdict = verification.verdict ?? {};
  const fact = (label, ...children) => h("span", {}, h("span", { class: "label" }, label, " "), ...children);
  const fixed = verification.final ?? null;
  fill(find("facts"), fact("Verdict", verdict.outcome ? capital(outcome(verdict.outcome)) : "none yet",
    verdict.score === null || verdict.score === undefined ? "" : `, score ${points(verdict.score)}`),
    review && (waits(review) ? fact("Waiting", since(review.opened_at)) : fact("Closed", moment(review.closed_at))),
    fact("Final answer", fixed ? outcome(fixed.outcome) : waits(review) ? "none yet" : "none"),
    fact("Account", h("code", {}, verification.account)), review?.opened_by === "manual" && h("span",
      { class: "tag" }, "opened by a back end"),
    verification.stale && h("span", { class: "tag" }, `stale: ${clause(verification.stale)}`));
  const row = queue.rows.find((one) => one.verification === detail.id), seen = review?.seen ?? row?.seen;
  fill(find("notices"), waits(review) && seenByOther(seen) && h("p", { class: "notice" },
    `Another reviewer had the names shown ${ago(seen.at)}.`),
    detail.misses >= TRIES && h("p", { class: "notice" }, `Not checked for changes since ${clock(detail.checked)}. ${detail.unchecked} `,
      h("button", { type: "button", id: "recheck", onclick: recheck }, "Check now")));
}

async function recheck() {
  const button = find("recheck");
  if (isBusy(button)) return;
  busy(button);
  await refreshDetail({ wanted: true });
  busy(find("recheck"), false);
}

function showWhy() {
  const verdict = detail.data.verification.verdict ?? {}, reasons = together(verdict.reasons ?? []);
  fill(find("why"), h("h2", { id: "why-title" }, "Why"), reasons.length ? h("ul",
    { class: "reasons" }, reasons.map((code) => h("li", {}, sentence(code), " ", h("code", { class: "quiet" }, code))))
    : h("p", {}, "There is no verdict with reasons."),
  verdict.matcher_version && h("p", { class: "small quiet" }, `Matcher ${verdict.matcher_version} · policy ${verdict.policy_version}`));
}

// ---- Comparison: names, on request ------------------------------------------------------------------------------------------------------

function showComparison() {
  const { review } = detail.data, closed = review?.closed_reason;
  if (!find("comparison")) return;
  const head = (...more) => h("div", { class: "head" }, h("h2", { id: "comparison-title", tabindex: "-1" }, "Comparison"), ...more);
  const only = (text) => fill(find("comparison"), head(), h("p", { class: "quiet" }, text));
  if (detail.names) return showNames(head);
  if (detail.gone || UNREADABLE.has(closed)) return only(`${detail.gone || capital(closedBecause(closed))}. Names can no longer be read.`);
  if (!review) return only("This verification has no review, so names are not shown here.");
  if (review.state === "closed") return only("The review is closed, so names are not shown any more.");
  if (queue.unknown) return only(`${NAMELESS}, so it shows no names. Inform the people who set up the desk: ${queue.unknown}`);
  if (!may("reveal")) return only("Your sign-in shows the timeline of a verification, not names.");
  return fill(find("comparison"), head(h("button", { type: "button", id: "show", onclick: reveal }, "Show names ", h("kbd", {}, "v"))),
    h("p", { class: "quiet", id: "look" }, "Names are hidden. Each look is recorded under your sign-in."));
}

async function reveal() {
  const view = detail;
  if (!find("show") || isBusy(find("show")) || !may("reveal")) return;
  busy(find("show"));
  find("look").textContent = "Reading the names…";
  try {
    // Each comparison is recorded, so it is repeated only if the reviewer asks for it.
    const names = await call("POST", `verifications/${view.id}/comparison`, { tenant: view.tenant, tries: 1 });
    if (detail !== view) return;
    // Show no names if the tab was hidden meanwhile, or if the session has ended.
    if (document.hidden || find("again") || !may("reveal")) return void showComparison();
    Object.assign(view, { names, until: Date.now() + SHOWN_FOR, warned: false });
  } catch (failure) {
    if (detail !== view) return;
    if (failure.type === "review-closed" && failure.problem.review) {
      changedTo(failure.problem.review);
      refreshDetail();
      return;
    }
    if (failure.status === 410) view.gone = GONE[failure.type] ?? GONE["claim-erased"];
    showComparison();
    if (failure.status === 410) {
      showDecision();
      find("comparison-title").focus();
      return;
    }
    // Owners that were erased cannot be loaded again.
    const alert = trouble(failure, [403, 404].includes(failure.status) ? null : reveal);
    find("comparison").append(alert);
    alert.focus();
    return;
  }
  showComparison();
  find("comparison-title").focus();
  say("Names are shown for 5 minutes.");
}

/** Remove the names from the screen and from memory. */
function hideNames(words) {
  if (!detail?.names) return;
  const inside = find("comparison")?.contains(document.activeElement);
  detail.names = null;
  showComparison();
  if (inside) find("show")?.focus();
  if (words) say(words);
}

function showNames(head) {
  const names = detail.names, head_ = ["Field", "Claimed", "At the bank", "Score", "Result"];
  const cell = (label, ...children) => h("td", { role: "cell", "data-label": label }, h("div", {}, ...children));
  const lacking = { claim: ["not claimed", "not shown"], bank: ["not shown", "the bank gave none"], both: ["nothing to compare",
    "nothing to compare"] };
  const lines = names.fields.map((field) => {
    const quiet = field.missing ? lacking[field.missing] : ["agrees, not shown", "agrees, not shown"];
    const [claim, bank] = [field.claim, field.bank].map((side, index) => side ? value(side) : h("span", { class: "quiet" }, quiet[index]));
    const also = (field.other_claimed ?? []).map((parts) => h("div", {}, h("span", { class: "quiet" }, "also "), value(parts)));
    const result = field.missing ? "missing" : field.same ? "agrees" : "differs";
    return h("tr", { role: "row", class: result }, h("th", { scope: "row", role: "rowheader" }, FIELDS[field.field] ?? field.field),
      cell("Claimed", claim, also),
      cell("At the bank", bank), cell("Score", points(field.score)), cell("Result",
        h("b", {}, result), !field.same && (field.sentences ?? []).map((text) => h("div", {}, text))));
  });
  const others = names.other_owners ?? [], count = names.other_owner_count ?? others.length;
  fill(find("comparison"), head(
    h("span", { id: "left", class: "small" }), h("button", { type: "button", id: "keep", onclick: keepNames }, "Show 5 minutes more"),
    h("button", { type: "button", id: "hide", onclick: () => hideNames("Names are hidden.") }, "Hide ", h("kbd", {}, "v"))),
  names.newest === false && h("p", { class: "notice" }, "The bank has given newer owners since. The verdict rests on the owners below."),
  h("table", { class: "cards compared", role: "table" }, h("caption",
    { class: "unseen" }, "The claim beside the owner that the bank names"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head_.map((name) => h("th", { scope: "col", role: "columnheader" }, name)))),
    h("tbody", { role: "rowgroup" }, lines)),
  others.length > 0 && h("details", {}, h("summary", {}, `${count} other owner${count > 1 ? "s" : ""} of this account`),
    h("ul", {}, others.map((name) => h("li", {}, value([{ text: name }]))), count > others.length && h("li",
      { class: "quiet" }, `and ${count - others.length} more`))),
  names.notes?.length > 0 && h("div", {}, h("p", {}, "Notes of earlier decisions:"), h("ul", {},
    names.notes.map(({ note }) => h("li", {}, value([{ text: note }]))))),
  h("div", { class: "tell" }, names.may_tell?.length > 0 && [h("p", {}, "You may tell the claimant:"), h("ul", {},
    names.may_tell.map((text) => h("li", {}, text)))],
    h("p", {}, names.may_name_owner ? "You may also tell the name on the account, but only if you are permitted to disclose it."
      : "Do not tell the name on the account.")));
  tick();
}

function keepNames() {
  Object.assign(detail, { until: Date.now() + SHOWN_FOR, warned: false });
  tick();
  say("Names are shown for 5 more minutes.");
}

/** Called once a second: show how long the names stay. */
function tick() {
  if (!detail?.names) return;
  const left = detail.until - Date.now();
  if (left <= 0) {
    hideNames("Names are hidden again.");
    return;
  }
  const seconds = Math.ceil(left / SECOND);
  find("left").textContent = `Hidden again in ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  find("left").classList.toggle("soon", left <= WARNED_BEFORE);
  if (left <= WARNED_BEFORE && !detail.warned) {
    detail.warned = true;
    say("Names are hidden in one minute. Choose “Show 5 minutes more” to see them longer.");
  }
}

// ---- Decision --------------------------------------------------------------------------------------------------------------------------

/** The state of a review in a sentence; empty while it waits for a first decision. */
function standing(review) {
  if (!review) return "";
  const last = review.decisions?.at(-1);
  if (review.resolution === "expired") return `Closed automatically ${moment(review.closed_at)}: ${closedBecause(review.closed_reason)}.`;
  if (!last) return "";
  if (last.decision === "withdraw") return `${Who(last.by)} withdrew the proposal ${moment(last.at)}.`;
  const done = { approve: review.state === "proposed" ? "proposed to approve" : "approved", reject: "rejected" }[last.decision];
  return `${Who(last.by)} ${done} this ${moment(last.at)}${last.reason ? `: ${small(clause(last.reason))}` : ""}.`;
}

function showDecision() {
  const { review } = detail.data, draft = draftOf(detail.id), panel = find("decision");
  if (!panel) return;
  // While a decision is being sent, its panel does not change.
  if (detail.sending) return undefined;
  const title = h("h2", { id: "decision-title", tabindex: "-1" }, "Decision"), unsent = kept(draft);
  if (!review) return fill(panel, title, h("p", {}, "This verification has no review. Nothing is to be decided here."));
  const text = standing(review);
  if (!waits(review)) {
    const expired = review.resolution === "expired", unreadable = UNREADABLE.has(review.closed_reason) ? " Names can no longer be read."
      : "";
    return fill(panel, title, h("p", { class: review.decisions?.at(-1)?.by === queue.you && !expired ? "notice good" : "notice" },
      text + unreadable),
      review.decisions?.at(-1)?.reference && h("p", {}, "Reference ", h("code", {}, review.decisions.at(-1).reference)), unsent,
      h("button", { type: "button", class: "main", onclick: next }, "Next"));
  }
  if (detail.gone) return fill(panel, title, h("p", { class: "notice" }, `${detail.gone}. The review is closed automatically.`), unsent,
    h("button", { type: "button", class: "main", onclick: next }, "Next"));
  if (!may("decide")) return fill(panel, title, text && h("p", { class: "notice" }, text), h("p",
    { class: "quiet" }, queue.unknown ? `${NAMELESS}, so it does not allow deciding.` : "Your sign-in does not allow deciding."));
  if (review.state === "proposed" && review.decisions?.at(-1)?.by === queue.you) {
    return fill(panel, title, h("p", { class: "notice" }, `${text} Another reviewer has to confirm it.`), unsent,
      h("div", { id: "failed" }), h("button", { type: "button", id: "withdraw",
        onclick: () => send({ decision: "withdraw" }) }, "Withdraw the proposal"));
  }
  return fill(panel, title, text && h("p", { class: "notice" }, text, review.state === "proposed" && " You are the second reviewer."),
    form(draft), h("div", { id: "confirming" }), h("div", { id: "failed" }));
}

/** A draft that was not sent and has no form any more. */
function kept(draft) {
  if (!draft.note && !draft.reference) return null;
  const area = h("textarea", { id: "kept", readonly: true, rows: "4", spellcheck: "false" });
  area.value = [draft.reference, draft.note].filter(Boolean).join("\n");
  const select = () => {
    area.focus();
    area.select();
    const copied = document.execCommand("copy");
    find("kept-how").textContent = copied ? "Copied." : "Selected: copy it with Ctrl + C.";
  };
  const discard = () => {
    drafts.delete(draftKey(detail.id));
    showDecision();
    find("decision-title").focus();
  };
  return h("div", { class: "kept" }, h("label", { for: "kept" }, "What you typed was not sent. It is kept here:"), area,
    h("button", { type: "button", id: "copy", onclick: select }, "Copy"), " ", h("button", { type: "button", id: "discard",
      onclick: discard }, "Delete it"), h("span", { id: "kept-how", role: "status" }));
}

function form(draft) {
  const proposed = detail.data.review.state === "proposed";
  const choice = (decision, name, key) => h("label", { class: "choice" },
    h("input", { type: "radio", name: "decision", id: decision, value: decision, checked: draft.decision === decision,
    onchange: () => choose(decision) }), name, " ", h("kbd", {}, key));
  const note = h("textarea", { id: "note", rows: "3", maxlength: "1000", spellcheck: "false",
    autocomplete: "off", "aria-describedby": "note-help note-wrong", oninput: (event) => { draft.note = event.target.value; edited(); } });
  note.value = draft.note;
  const reference = h("input", { id: "reference", value: draft.reference, maxlength: "64",
    autocomplete: "off", spellcheck: "false", "aria-describedby": "reference-help reference-wrong",
    oninput: (event) => { draft.reference = event.target.value; edited(); } });
  const wrong = (id) => h("span", { id: `${id}-wrong`, class: "wrong" });
  return h("form", { id: "form", novalidate: true, onsubmit: (event) => { event.preventDefault(); check(); } },
    h("fieldset", { "aria-describedby": "decision-wrong" }, h("legend", {}, "What is your decision?"), h("div",
      { class: "choices" }, choice("approve", proposed ? "Approve as second" : "Approve", "a"), choice("reject", "Reject", "r")),
        wrong("decision")),
    h("div", { class: "pair" }, h("label", { for: "reason" }, "Reason"), h("select", { id: "reason", "aria-describedby": "reason-wrong",
      onchange: (event) => { draft.reason = event.target.value; edited(); } }, reasonOptions(draft)), wrong("reason")),
    h("div", { class: "pair" }, h("label", { for: "reference" }, "Reference ", h("span",
      { class: "quiet", id: "reference-help" }, "(of your own case, such as CASE-4711; no names)")), reference, wrong("reference")),
    h("div", { class: "pair" }, h("label", { for: "note" }, "Note ", h("span",
      { class: "quiet", id: "note-help" }, `(needed with the reason “${clause("OTHER")}”; stored encrypted)`)), note, wrong("note")),
    h("button", { id: "check" }, "Check the decision"));
}

function reasonOptions(draft) {
  const codes = draft.decision ? settings[draft.decision] : {};
  return [h("option", { value: "" }, draft.decision ? "Choose a reason" : "Choose a decision first"),
    ...Object.keys(codes).map((code) => h("option", { value: code, selected: code === draft.reason }, codes[code].replace(/\.$/, "")))];
}

function choose(decision) {
  const draft = draftOf(detail.id);
  if (detail.sending) return;
  if (draft.decision !== decision) Object.assign(draft, { decision, reason: "" });
  find(decision).checked = true;
  fill(find("reason"), reasonOptions(draft));
  edited();
}

/** The form has changed, so an earlier confirmation no longer counts. */
function edited() {
  if (detail.confirming) unconfirm();
  for (const node of document.querySelectorAll("#form .wrong")) node.textContent = "";
  for (const node of document.querySelectorAll("#form [aria-invalid]")) node.removeAttribute("aria-invalid");
}

function check() {
  const draft = draftOf(detail.id), wrong = {};
  if (detail.sending) return;
  if (!draft.decision) wrong.decision = "Choose approve or reject.";
  else if (!draft.reason) wrong.reason = "Choose a reason.";
  if (draft.reference && !REFERENCE.test(draft.reference)) wrong.reference = "At most 64 letters, digits and . _ : / - without blanks.";
  if (draft.reason === "OTHER" && !draft.note.trim()) wrong.note = "Say in a note what the reason is.";
  for (const name of ["decision", "reason", "reference", "note"]) {
    find(`${name}-wrong`).textContent = wrong[name] ?? "";
    const field = name === "decision" ? document.querySelector("#form fieldset") : find(name);
    if (name in wrong) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
  const first = Object.keys(wrong)[0];
  if (first) {
    (first === "decision" ? find("approve") : find(first)).focus();
    say(wrong[first]);
    return;
  }
  detail.confirming = true;
  const sent = [draft.reference && `Reference ${draft.reference}.`, draft.note.trim()
    && `With a note of ${draft.note.trim().length} characters.`].filter(Boolean).join(" ");
  fill(find("failed"));
  fill(find("confirming"), h("div", { class: "confirming", role: "group", "aria-labelledby": "confirm-what", id: "confirm-box",
    tabindex: "-1" },
    h("p", { id: "confirm-what" }, h("b", {}, `${capital(draft.decision)}: `), settings[draft.decision][draft.reason], " ",
      effect(draft)), sent && h("p", { class: "small" }, sent),
    h("button", { type: "button", id: "confirm", class: "main", onclick: () => send(draft) }, "Confirm ", h("kbd", {}, "Ctrl ⏎")),
    h("button", { type: "button", id: "unconfirm", onclick: backToForm }, "Back")));
  // Not the button, because a second press of Enter must not confirm.
  find("confirm-box").focus();
  find("check").hidden = true;
}

/** What confirming will do. */
function effect(draft) {
  const { verification, review } = detail.data;
  if (draft.decision === "reject") return "Final answer: no match.";
  const needed = verification.verdict?.outcome === "no_match" ? 2 : Math.max(settings.reviewers_needed, review.reviewers_needed);
  const two = review.state !== "proposed" && needed >= 2;
  return two ? "This is a proposal: another reviewer has to confirm it." : "Final answer: match.";
}

function unconfirm() {
  if (detail.sending) return;
  detail.confirming = false;
  find("confirming").replaceChildren();
  find("check").hidden = false;
}

function backToForm() {
  if (detail.sending) return;
  unconfirm();
  find("check").focus();
}

async function send({ decision, reason, reference, note }) {
  const view = detail, { review } = view.data, draft = draftKey(view.id);
  if (view.sending || !may("decide")) return;
  const sent = { decision, reason: reason ?? "", known: review.decisions?.length ?? 0 };
  view.sent = sent;
  sending(true);
  const body = { version: review.version, decision };
  if (reason) body.reason = reason;
  if (reference) body.reference = reference;
  if (note?.trim()) body.note = note.trim();
  let after;
  try {
    // The API answers a repetition of the same decision with the stored decision.
    after = await call("POST", `verifications/${view.id}/review/decisions`, { tenant: view.tenant, body });
  } catch (failure) {
    // After a lost answer, the repetition may find this page's decision and a later one.
    if (holds(failure.problem.review, sent)) after = failure.problem.review;
    else return void failed(view, sent, failure);
  }
  view.sent = null;
  if (decision !== "withdraw") drafts.delete(draft);
  const text = outcomeOf(view, sent, after);
  if (detail !== view) return void say(text);
  if (decision === "withdraw") {
    sending(false);
    changedTo(after);
    refreshDetail();
    find("decision-title").focus();
    return;
  }
  // This screen stays until the next one is ready.
  if (after.state !== "open") queue.rows = queue.rows.filter((one) => one.verification !== view.id);
  coming = h("span", {}, text, " ", h("a", { href: address(view) }, "See it"));
  const opened = await walk(view);
  if (opened !== null) say(`${text} ${opened ? "The next review is open." : "Nothing else waits in this list."}`);
}

/** The result of a decision, in a sentence. */
function outcomeOf(view, { decision }, after) {
  const done = { approve: after.state === "proposed" ? "Proposed to approve" : "Approved", reject: "Rejected",
    withdraw: "Withdrew the proposal for" }[decision];
  const final = after.final ? ` Final answer: ${outcome(after.final.outcome)}.`
    : after.state === "proposed" ? " Another reviewer has to confirm it." : "";
  return `${done} ${short(view.id)}.${final}`;
}

/** While a decision is being sent, its form cannot be changed, and the focus stays where a screen reader reads the progress. */
function sending(on) {
  detail.sending = on;
  if (on) {
    const box = find("confirm-box") ?? find("withdraw");
    if (!box.contains(document.activeElement)) box.focus();
    say("Sending…");
  }
  if (find("form")) find("form").inert = on;
  for (const id of ["confirm", "unconfirm", "withdraw"]) busy(find(id), on);
  fill(find("failed"), on && h("p", { class: "quiet", id: "sending" }, "Sending…"));
}

function failed(view, sent, failure) {
  view.sending = false;
  // A refusal is an answer. After any other failure, it is unknown whether the decision was stored.
  const refusal = failure.status >= 400 && failure.status < 500;
  if (refusal) view.sent = null;
  if (detail === view) refused(failure, refusal);
  else failedElsewhere(view, sent, failure, refusal);
}

const UNKNOWN = " It is not known whether the decision was stored. Sending it again does no harm.";

/** A decision failed after its reviewer had left the screen. The message is shown on every screen until it is read. */
function failedElsewhere(view, { decision }, failure, refusal) {
  const what = decision === "withdraw" ? "The withdrawal of a proposal" : "Your decision";
  const away = () => notice.remove();
  const notice = h("div", { class: "notice bad", role: "alert" },
    h("p", {}, `${what} about ${short(view.id)} ${refusal ? "was not accepted" : "failed"}. ${failure.message.trim()}${
      refusal ? "" : UNKNOWN}`),
    h("p", {}, h("a", { href: address(view), onclick: away }, "Open it again"), " ",
      h("button", { type: "button", class: "plain", onclick: away }, "Close")));
  find("late")?.append(notice);
}

function refused(failure, refusal) {
  const review = failure.problem.review;
  sending(false);
  if (review) {
    changedTo(review);
    showDecision();
    refreshDetail();
    queue.rows = waits(review) ? queue.rows : queue.rows.filter((one) => one.verification !== detail.id);
    find("decision-title").focus();
    return;
  }
  if (failure.status === 410) {
    detail.gone = GONE[failure.type] ?? GONE["claim-erased"];
    hideNames();
    showComparison();
    showDecision();
    find("decision-title").focus();
    return;
  }
  if (!refusal) failure.message = `${failure.message.trim()}${UNKNOWN}`;
  const alert = trouble(failure, failure.status === 403 || failure.status === 422 ? null : () => {
    fill(find("failed"));
    (find("confirm") ?? find("withdraw"))?.click();
  });
  fill(find("failed"), alert);
  alert.focus();
}

// ---- The timeline ----------------------------------------------------------------------------------------------------------------------

const WOKEN = { webhook: "Continued: Stripe reported the result", reading: "Continued: the account was read for another request or event",
  time_out: "Continued to ask again, because no event of Stripe came in time", reconcile: "Continued by the scheduled check" };
const why = (step) => step.reason ? `: ${small(clause(step.reason))}` : "";
const STEPS = {
  requested: (step) => step.batch ? "Requested by a batch" : "Requested",
  refresh_started: () => "Refresh started",
  refresh_joined: () => "Joined a refresh that was under way",
  cooldown_began: (step) => `Cooling down${step.resume_at ? ` until ${day(step.resume_at) === day(step.at) ? clock(step.resume_at)
    : `${clock(step.resume_at)} on ${day(step.resume_at)}`}` : ""}`,
  cooldown_over: () => "Cooldown over",
  repair_wait_began: () => "Waits for the account to be repaired",
  repair_wait_over: () => "The wait for a repair is over",
  trouble: (step) => `Stripe could not be asked${why(step)}; it is tried again`,
  webhook: (step) => ["Stripe's event arrived: ", h("code", {}, step.event_type ?? "type not known"), " (",
    h("code", {}, step.event ?? ""), ")"],
  owners_fetched: () => "Owners fetched",
  woken: (step) => WOKEN[step.by] ?? "Continued",
  cancelled: () => "Cancelled",
  batch_stopped: () => "The batch was stopped",
  verdict: (step) => `Verdict: ${outcome(step.outcome)}${typeof step.score === "number" ? `, score ${points(step.score)}` : ""}`,
  review_opened: (step) => step.by === "manual" ? "Review opened by a back end" : "Review opened",
  proposed: (step) => `${capital(by(step))} proposed to approve${why(step)}`,
  withdrawn: (step) => `${capital(by(step))} withdrew the proposal`,
  decided: (step) => `${capital(by(step))} ${step.decision === "reject" ? "rejected" : "approved"}${why(step)}`,
  expired: (step) => `Review closed automatically${step.reason ? `: ${closedBecause(step.reason)}` : ""}`,
  stale: (step) => `The verdict no longer holds${why(step)}`,
  stale_lifted: () => "The verdict holds again",
  owners_changed: () => "The bank named other owners or contacts",
  newer_owners: () => "The bank gave newer owners",
};
const by = (step) => step.by === queue.you ? "you" : `reviewer ${who(step.by)}`;

function showTimeline() {
  const { steps, recorded, review, left_out: leftOut } = detail.data, panel = find("way");
  if (!panel) return;
  let date = "";
  const items = steps.flatMap((step, index) => {
    const text = (STEPS[step.kind] ?? (() => capital(step.kind.replaceAll("_", " "))))(step);
    const heading = day(step.at) !== date && h("li", { class: "day" }, day(step.at));
    date = day(step.at);
    const time = new Date(step.at).toLocaleTimeString("en-GB");
    const gap = leftOut > 0 && index === steps.length / 2 && h("li", { class: "day" }, `${leftOut} more steps are not shown`);
    return [gap, heading, h("li", {}, h("time", { datetime: step.at }, time), " ", h("span", {}, text))].filter(Boolean);
  });
  const now = waits(review) ? review.state === "proposed" ? "Waits for a second reviewer" : "Waits for a decision" : null;
  fill(panel, h("h2", { id: "way-title" }, "Timeline"), recorded === false && h("p",
    { class: "quiet" }, "An earlier release handled a part of this verification, or steps have expired. Steps may be missing."),
    h("ol", { class: "way" }, items, now && h("li", { class: "now" }, h("span", { class: "time" }, "now"), " ", h("span", {}, now))),
    h("p", { class: "small quiet" }, `Times are in your time zone (${Intl.DateTimeFormat().resolvedOptions().timeZone}).`));
}

// ---- Keys ------------------------------------------------------------------------------------------------------------------------------

const shortcuts = {
  get on() { return localStorage.getItem("shortcuts") !== "off"; },
  set on(value) { localStorage.setItem("shortcuts", value ? "on" : "off"); },
};

function showKeys() {
  const box = h("input", { type: "checkbox", id: "shortcuts", checked: shortcuts.on,
    onchange: (event) => { shortcuts.on = event.target.checked; document.body.classList.toggle("nokeys", !shortcuts.on); } });
  document.body.classList.toggle("nokeys", !shortcuts.on);
  document.body.append(h("footer", {}, h("p", { class: "keys small" }, "Keys: ", h("kbd", {}, "j"), " ", h("kbd", {}, "k"), " move · ",
    h("kbd", {}, "Enter"), " open · ", h("kbd", {}, "n"), " next · ", h("kbd", {}, "?"), " all"),
    h("label", {}, box, " Shortcuts"), h("button", { type: "button", id: "help", class: "plain", onclick: showHelp }, "All keys")),
  h("dialog", { id: "all-keys", "aria-labelledby": "keys-title" }, h("h2", { id: "keys-title" }, "Keys"),
    h("dl", {}, KEYS.map(([key, text]) => [h("dt", {}, key), h("dd", {}, text)])), h("p",
      { class: "small quiet" }, "Letters do nothing in a field, or while Ctrl, Alt or Cmd is held."),
    h("form", { method: "dialog" }, h("button", {}, "Close"))));
}

const showHelp = () => find("all-keys").showModal();

function move(by) {
  const links = [...document.querySelectorAll("#rows a")], at = links.indexOf(document.activeElement.closest?.("tr")?.querySelector("a"));
  links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by))]?.focus();
}

function onKey(event) {
  const target = event.target, typing = target.matches("textarea, select, input:not([type=radio], [type=checkbox])");
  if (event.defaultPrevented || event.isComposing || signedOut || document.querySelector("dialog[open]")) return;
  // A key that is held down counts as one press. Only moving is repeated.
  const held = event.repeat;
  if (held && event.key === "Enter" && target.closest("button, a, summary, input")) return void event.preventDefault();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && find("form")) {
    event.preventDefault();
    if (held) return;
    if (detail.confirming) find("confirm").click();
    else check();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && !typing) {
    if (held) return;
    if (detail?.confirming && !detail.sending) backToForm();
    else if (detail) go(address({ tenant: queue.tenant, state: queue.state }));
    return;
  }
  if (event.key === "Enter" && !held && shortcuts.on && !detail && !target.closest("a, button, input, select, summary, label")) return void openOldest();
  if (typing || !shortcuts.on) return;
  const radio = (id) => { if (find(id)) { choose(id); find(id).focus(); } };
  const keys = {
    "?": showHelp, n: next, j: () => move(1), k: () => move(-1), a: () => radio("approve"), r: () => radio("reject"),
    v: () => detail?.names ? hideNames("Names are hidden.") : find("show") && reveal(),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  if (held && !["j", "k"].includes(event.key)) return;
  keys[event.key]();
}

// ---- Start -----------------------------------------------------------------------------------------------------------------------------

let hiddenAt = 0, hiddenTimer = 0;

function onVisibility() {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenAt = Date.now();
    hiddenTimer = setTimeout(hideNames, HIDDEN_TAB_FOR);
    return;
  }
  // Browsers slow the timers of hidden tabs down.
  if (hiddenAt && Date.now() - hiddenAt >= HIDDEN_TAB_FOR) hideNames();
  lookAgain(5 * SECOND);
}

function lookAgain(after) {
  if (detail && waits(detail.data?.review) && !document.hidden && detail.misses < TRIES && !find("again")
    && Date.now() - detail.asked >= after) refreshDetail();
}

async function start() {
  if (!settings.files["sign_in.js"] || !settings.files["oauth4webapi.js"]) {
    fill(find("main"), h("h1", {}, "The desk cannot sign you in"),
      h("p", {}, "This build lacks the library for signing in, which is fetched with npm: install npm, build the stack again and deploy it."));
    return;
  }
  const files = Object.fromEntries(Object.entries(settings.files).map(([name, path]) => [name, new URL(path, document.baseURI).href]));
  try {
    const { signIn } = await import(files["sign_in.js"]).catch(() => {
      throw new Error("A part of this page could not be loaded. Check your connection.");
    });
    session = await signIn({ ...settings, files });
  } catch (error) {
    // This is the pop-up for signing in again. The browser has not allowed it to close itself.
    if (error.code === "handed_over") return fill(find("main"), h("h1", {}, error.message));
    fill(find("main"), h("h1", {}, "Signing in did not work"), h("div", { class: "notice bad", role: "alert" },
      h("p", {}, visible(error.message)), h("button", { type: "button", onclick: () => location.reload() }, "Try again")));
    return;
  }
  session.onEnded((elsewhere) => elsewhere ? clearPage("You are signed out of the desk", "You signed out in another tab.")
    : sessionEnded());
  showWho();
  showKeys();
  addEventListener("hashchange", route);
  addEventListener("keydown", onKey);
  addEventListener("focus", () => lookAgain(5 * SECOND));
  addEventListener("pagehide", () => hideNames());
  addEventListener("beforeunload", (event) => { if (typed() && !signedOut) event.preventDefault(); });
  document.addEventListener("visibilitychange", onVisibility);
  find("skip").addEventListener("click", (event) => { event.preventDefault(); find("main").focus(); });
  setInterval(tick, SECOND);
  setInterval(() => lookAgain(ASK_AGAIN - SECOND), ASK_AGAIN);
  await route();
}

await start();
