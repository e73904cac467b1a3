// What the pages gain where scripts run: forms as dialogs, menus by keyboard, copying, local times,
// live updates. Every page works without it, and it holds no state that a page doesn't.
"use strict";

const dialog = document.createElement("dialog");
dialog.setAttribute("aria-labelledby", "dialog-title");
const announcer = document.createElement("div");
announcer.className = "sr";
announcer.setAttribute("role", "status");
// From how many milliseconds on something takes its time, and says so.
const SLOW = 300;
// After how many milliseconds a page that does not come is taken to have been stopped, where browsers
// don't say so.
const GIVEN_UP = 30000;
let opener = null; // what the focus returns to
let opened = 0; // how often a dialog was asked for
let page = null; // the address of the page beneath the dialog
let shownAt = null; // the dialog's own address
let copied = false;
let leaving = false; // the dialog is about to be closed
let sending = false; // the dialog's form is on its way, or its answer is
let sent = false; // the dialog's form was sent or is obsolete: what is beneath may be outdated
let back = null; // until the history is again where the dialog belongs
let next = null; // where to go on once the dialog is closed

// What is wrong in a form or beside it, in the order in which it is read.
const WRONG = "[aria-invalid], fieldset:has(> .problem) input:not(:disabled), [role=alert]:not([hidden])";

const say = (text) => {
  announcer.textContent = "";
  requestAnimationFrame(() => { announcer.textContent = text; });
};
// What went wrong, where it is both seen and heard.
function tell(place, words) {
  place.querySelector("[data-told]")?.remove();
  const told = document.createElement("div");
  told.className = "notice bad";
  told.dataset.told = "true";
  told.setAttribute("role", "alert");
  told.append(...words.map((text) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    return paragraph;
  }));
  place.prepend(told);
  return told;
}
// What takes its time says so; what is quick doesn't flicker. Answers with what takes it back. The
// menu of a row says so beside itself: other words in it would move the whole table.
function busy(part, button, doing = "Sending…") {
  const isMenu = button?.matches("summary");
  const words = button && !isMenu && (button.dataset.words ??= button.textContent);
  const timer = setTimeout(() => {
    part.setAttribute("aria-busy", "true");
    if (!button) return;
    if (isMenu) {
      button.dataset.doing = doing;
      button.setAttribute("aria-busy", "true");
    } else {
      button.textContent = doing;
    }
    say(doing);
  }, SLOW);
  return () => {
    clearTimeout(timer);
    part.removeAttribute("aria-busy");
    if (!button) return;
    button.removeAttribute("aria-busy");
    delete button.dataset.doing;
    if (!isMenu) button.textContent = words;
    delete button.dataset.words;
  };
}
// Where what is wrong is seen, read aloud and gone on from.
function point(target) {
  if (!target?.matches("input, select, textarea, button, a, summary")) target?.setAttribute("tabindex", "-1");
  target?.focus();
}
const parse = (html) => new DOMParser().parseFromString(html, "text/html");
// Whether a document is of the session and the company that this page is of: in another window the
// person may have entered another company since, or somebody else have signed in. Nothing of theirs
// is shown on this page.
const isOurs = ({ body }) => body.dataset.whose === document.body.dataset.whose;
const content = (root) => root.querySelector("[data-dialog-content]");

// Times: the viewer's zone in front, UTC behind it.
// Written as the pages write it: "3 March 2026, 14:05:09 UTC".
const written = (parts) => new Intl.DateTimeFormat("en-GB", parts);
const HOURS = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const day = written({ day: "numeric", month: "long", year: "numeric" });
const clock = written(HOURS);
const seconds = written({ ...HOURS, second: "2-digit", timeZoneName: "short" });
const full = (at) => `${day.format(at)}, ${clock.format(at)}`;
const exact = (at) => `${day.format(at)}, ${seconds.format(at)}`;
// As fields and programs write it: "2026-03-03".
const pad = (number) => String(number).padStart(2, "0");
const date = (at) => `${String(at.getFullYear()).padStart(4, "0")}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const utc = time.dataset.exact;
    if (!utc || isNaN(at) || time.dateTime.length < 11) continue;
    const abroad = at.getTimezoneOffset() !== 0;
    if (abroad) time.dataset.exact = `${exact(at)} (${utc})`;
    // Paper has the seconds and the zone behind the minutes, or else the whole in UTC.
    time.dataset.paper = time.dataset.local ? seconds.format(at).slice(5) + (abroad ? ` (${utc})` : "") : ` (${utc})`;
    if (time.dataset.local === "clock") time.textContent = clock.format(at);
    if (time.dataset.local === "full") {
      time.textContent = full(at);
      time.dataset.local = "put";
    }
  }
  for (const field of root.querySelectorAll("input[data-utc]")) {
    const at = new Date(field.dataset.utc);
    if (!isNaN(at)) {
      field.value = `${date(at)}T${[at.getHours(), at.getMinutes(), at.getSeconds()].map(pad).join(":")}`;
      field.dataset.shown = field.value;
    }
    field.form?.querySelectorAll("[data-zone]").forEach((zone) => { zone.textContent = "your time"; });
  }
  for (const slider of root.querySelectorAll("[data-life] input")) {
    slider.setAttribute("aria-valuetext", full(new Date(Number(slider.value) * 1000)));
  }
}

// Events stand under the viewer's days, of which the server doesn't know where they begin.
function localDays(root) {
  const before = [...root.querySelectorAll(".day")];
  const events = before.flatMap((part) => [...part.querySelectorAll(".event")]);
  events.forEach((event) => event.remove());
  const after = [];
  for (const event of events) {
    const at = new Date(event.querySelector("time[data-local=clock]").dateTime);
    if (after.at(-1)?.querySelector("time").dateTime !== date(at)) {
      const part = before[0].cloneNode(true);
      const heading = part.querySelector("time");
      heading.dateTime = date(at);
      heading.textContent = day.format(at);
      part.querySelector("h2").replaceChildren(heading);
      after.push(part);
    }
    after.at(-1).querySelector("ol").append(event);
  }
  before[0]?.replaceWith(...after);
  before.slice(1).forEach((part) => part.remove());
  // A day of the chart is another part of time than the viewer's.
  for (const told of root.querySelectorAll("[data-abroad]")) {
    told.hidden = new Date(told.dataset.abroad).getTimezoneOffset() === 0;
  }
}

function enhance(root) {
  localTimes(root);
  localDays(root);
  root.querySelectorAll("[data-choose], [data-copy], [data-life], [data-changes]").forEach((part) => { part.hidden = false; });
  watchChoice(root.querySelector("[data-choice]"));
  root.querySelectorAll("[data-brush]").forEach(rove);
}

// The form of a dialog, from its page. What is about something that is there begins at its heading,
// so that Enter does nothing yet.
function show(found) {
  copied = leaving = false;
  sent ||= found.querySelector("[data-stale]") !== null;
  dialog.replaceChildren(document.adoptNode(found), announcer);
  enhance(dialog);
  if (!dialog.open) dialog.showModal();
  const target = dialog.querySelector(`${WRONG}, [data-secret]`) ||
    dialog.querySelector("form:not(:has([name=version], button.danger)) input:not([type=hidden], [type=radio])");
  point(target || dialog.querySelector("h1"));
  const done = dialog.querySelector(".notice.good");
  if (done) say(done.innerText);
}

async function open(url, from) {
  const turn = opened += 1;
  const main = document.querySelector("main");
  main.querySelector(":scope > [data-told]")?.remove();
  const rest = busy(main, from, "Loading…");
  const answer = await fetch(url, { headers: { accept: "text/html" } }).catch(() => null);
  const html = await answer?.text().catch(() => null);
  rest();
  // Whoever has chosen something else meanwhile gets that.
  if (dialog.open || turn !== opened) return;
  if (typeof html !== "string") {
    from.focus({ preventScroll: true });
    tell(main, ["The service can’t be reached. Try again."]).scrollIntoView({ block: "nearest" });
    return;
  }
  const form = parse(html);
  const found = answer.ok && !answer.redirected && isOurs(form) && content(form);
  if (!found) { location.assign(url); return; }
  opener = from;
  page = location.href;
  sent = false;
  show(found);
  history.pushState({ dialog: true }, "", url);
  shownAt = location.href;
}

// A secret that was not copied is asked about before it is gone.
function mayLeave(guarded = dialog.querySelector("[data-guarded]")) {
  if (!guarded || copied) return true;
  const question = guarded.querySelector("[data-leave]");
  if (!question.hidden) return true;
  question.hidden = false;
  question.focus();
  return false;
}

// Back to the page beneath, where the dialog is closed. What was sent is carried out whatever is
// pressed, so that nobody leaves before its answer is there.
function leave() {
  if (leaving || sending || !mayLeave()) return;
  leaving = true;
  history.back();
}

function close() {
  dialog.close();
  dialog.replaceChildren();
  document.body.append(announcer);
  const told = next;
  next = null;
  if (sent) goOn(() => { if (told) location.replace(told); else location.reload(); });
  else if (opener?.isConnected) opener.focus();
}

// What was done in a dialog is seen on a page that is loaded anew. The focus returns there to what
// opened the dialog, which is known by the path of its form, or else goes to what is told. So it does
// where a button of the page did it.
const DONE = "done-at";
const wayOf = (way) => new URL(way.href || way.form.action).pathname;
function goOn(load) {
  sessionStorage.setItem(DONE, new URL(shownAt).pathname);
  load();
}
function comeBack() {
  const at = sessionStorage.getItem(DONE);
  sessionStorage.removeItem(DONE);
  if (!at) return;
  const link = [...document.querySelectorAll("a[data-dialog], button[data-returns]")].find((way) => wayOf(way) === at);
  point(link?.closest("details.menu")?.querySelector("summary") || link ||
    document.querySelector("main .notice[role=status]") || document.querySelector("main h1"));
}

// Forward again, to the entry of the history that the dialog has.
function stay() {
  back ||= new Promise((done) => {
    window.addEventListener("popstate", () => { back = null; done(); }, { once: true });
    history.forward();
  });
}

// What hover or focus shows of a time goes by Esc, and nothing else with it. It comes again where the
// pointer or the focus moves on.
document.addEventListener("keydown", (event) => {
  const { classList } = document.documentElement;
  if (event.key !== "Escape" || classList.contains("untold")) return;
  if (!document.querySelector("[data-exact]:is(:hover, :focus)")) return;
  event.preventDefault();
  event.stopPropagation();
  classList.add("untold");
}, true);
for (const move of ["pointerover", "focusin"]) {
  document.addEventListener(move, () => document.documentElement.classList.remove("untold"));
}

// Browsers close a dialog at the second Esc without asking, but not where the key itself is taken.
// It closes a list of choices first.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !dialog.open || event.isComposing) return;
  if (event.target.matches("select") && !sending) return;
  event.preventDefault();
  leave();
});
dialog.addEventListener("cancel", (event) => {
  event.preventDefault();
  leave();
});
window.addEventListener("popstate", () => {
  if (!dialog.open) {
    if (location.pathname + location.search !== rendered) location.reload();
  } else if (location.href === shownAt) {
    // Here it belongs.
  } else if (sending || !mayLeave()) {
    stay();
  } else if (location.href === page) {
    close();
  } else {
    location.reload();
  }
});
window.addEventListener("beforeunload", (event) => {
  if (sending || (document.querySelector("[data-guarded]") && !copied)) event.preventDefault();
});
// A page that the browser kept is shown as it is now.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.replace(location.pathname + location.search);
});
window.addEventListener("pagehide", () => {
  document.querySelectorAll("[data-secret]").forEach((field) => { field.value = ""; });
});

async function send(form, button) {
  sending = sent = true;
  form.querySelector("[data-told]")?.remove();
  const ways = [...dialog.querySelectorAll("[data-cancel], [type=submit]")];
  ways.forEach((way) => way.setAttribute("aria-disabled", "true"));
  const rest = busy(form, button);
  const body = new URLSearchParams(new FormData(form, button));
  const answer = await fetch(form.action, { method: "POST", body }).catch(() => null);
  const found = answer && !answer.redirected && parse(await answer.text().catch(() => ""));
  await back;
  sending = false;
  if (answer?.redirected) { goOn(() => location.replace(answer.url)); return; }
  rest();
  if (found && content(found)) { show(content(found)); return; }
  ways.forEach((way) => way.removeAttribute("aria-disabled"));
  const said = [...found?.querySelectorAll("[data-trouble] p") || []].map((part) => part.textContent);
  const why = answer ? `The service answered with an error (${answer.status}).` : "The service can’t be reached.";
  point(tell(form, said.length ? said : [`${why} Nothing is known to have changed; try again.`]));
}

// What is sent differs from what the fields show, which stay as they are: whoever stops the page that
// is to come goes on with them.
document.addEventListener("formdata", ({ target: form, formData: sent }) => {
  for (const field of form.querySelectorAll("input[data-utc]:enabled")) {
    const at = new Date(field.value);
    if (!field.value || isNaN(at)) continue;
    // What was not touched stays exact: a clock that is put back shows an hour twice.
    sent.set(field.name, field.value === field.dataset.shown ? field.dataset.utc : at.toISOString());
  }
  // Filters that say nothing stay out of the address.
  if (form.method !== "get") return;
  for (const name of new Set(sent.keys())) if (sent.getAll(name).every((value) => !value)) sent.delete(name);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method === "get") return;
  if (dialog.contains(form)) {
    event.preventDefault();
    if (!sending && !leaving) send(form, event.submitter);
  } else {
    // A second click would lose the answer to the first, and a secret with it. Whoever stops the
    // page from loading stays, and can send again.
    const buttons = [...form.querySelectorAll("button")];
    const rest = busy(form, event.submitter);
    setTimeout(() => buttons.forEach((button) => { button.disabled = true; }));
    if (event.submitter?.matches("[data-returns]")) sessionStorage.setItem(DONE, wayOf(event.submitter));
    const again = () => {
      sessionStorage.removeItem(DONE);
      rest();
      buttons.forEach((button) => { button.disabled = false; });
    };
    if (window.navigation) window.navigation.addEventListener("navigateerror", again, { once: true });
    else setTimeout(again, GIVEN_UP);
  }
});

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a, button");
  const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);
  if (!link || !plain) return;
  if (link.matches("[data-dialog]")) {
    event.preventDefault();
    const menu = link.closest("details.menu");
    if (menu) menu.open = false;
    await open(link.href, menu ? menu.querySelector("summary") : link);
  } else if (link.matches("[data-cancel]") && dialog.contains(link)) {
    event.preventDefault();
    leave();
  } else if (link.matches("[data-done]") && dialog.contains(link)) {
    event.preventDefault();
    if (link.search) next = link.href;
    leave();
  } else if (link.matches("[data-done]")) {
    if (mayLeave(link.closest("[data-guarded]"))) copied = true;
    else event.preventDefault();
  } else if (link.matches("[data-copy]")) {
    await copy(link);
  } else if (link.matches("[data-all]")) {
    link.closest("[data-choice]").querySelectorAll("input:not(:disabled)").forEach((box) => {
      box.checked = link.dataset.all === "true";
    });
    link.closest("[data-choice]").dispatchEvent(new Event("change"));
  }
});

function noteCopied() {
  copied = true;
  document.querySelectorAll("[data-leave]").forEach((question) => { question.hidden = true; });
}

async function copy(button) {
  const field = button.closest(".secret").querySelector("input");
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    if (!document.execCommand("copy")) {
      tell(button.closest(".stack"), ["The browser doesn’t let pages copy. Select the text and copy it by hand."]);
      return;
    }
  }
  if (field.matches("[data-secret]")) noteCopied();
  const words = button.dataset.words ||= button.textContent;
  button.textContent = "Copied";
  say("Copied");
  setTimeout(() => { button.textContent = words; }, 2000);
}
document.addEventListener("focusin", (event) => {
  if (event.target.matches(".secret input")) event.target.select();
});
document.addEventListener("copy", () => {
  if (document.activeElement?.matches("[data-secret]")) noteCopied();
});

// What an edit is going to change, before it is saved.
function watchChoice(choice) {
  const summary = choice?.closest("form").querySelector("[data-changes] [role=status]");
  if (!summary) return;
  const tell = () => {
    const boxes = [...choice.querySelectorAll("[data-current]")];
    const named = (tag, words, sign, list) => list.flatMap((box) => {
      const chip = document.createElement(tag);
      chip.className = "chip";
      const unseen = document.createElement("span");
      unseen.className = "sr";
      unseen.textContent = `${words} `;
      chip.append(unseen, sign + box.closest("label").querySelector(".name").textContent);
      return [chip, " "];
    });
    const added = boxes.filter((box) => box.checked && box.dataset.current === "false");
    const removed = boxes.filter((box) => !box.checked && box.dataset.current === "true");
    const chips = [...named("ins", "added", "+ ", added), ...named("del", "removed", "", removed)];
    summary.replaceChildren(...(chips.length ? chips : ["Nothing is changed yet."]));
  };
  choice.addEventListener("change", tell);
  tell();
}

// Choosing single data accesses means only these; all on offer means each of them.
document.addEventListener("change", (event) => {
  const form = event.target.form || event.target.closest("form");
  const only = form?.querySelector("[name=allow][value=some]");
  if (!only) return;
  if (event.target.closest("[data-choice]")) only.checked = true;
  if (event.target.matches("[name=allow][value=all]")) {
    form.querySelectorAll("[data-choice] input:not(:disabled)").forEach((box) => { box.checked = true; });
  }
}, true);

// Menus: arrows move, Esc closes, the focus returns. Opening moves the focus in the same step, so
// that whoever types on at once is never fetched back.
function enter(menu, at) {
  document.querySelectorAll("details.menu[open]").forEach((other) => { other.open = other === menu; });
  menu.open = true;
  [...menu.querySelectorAll("a")].at(at).focus();
}
document.addEventListener("click", (event) => {
  const menu = event.target.closest("details.menu > summary")?.parentElement;
  if (!menu) return;
  event.preventDefault();
  if (menu.open) menu.open = false;
  else enter(menu, 0);
});
document.addEventListener("keydown", (event) => {
  const menu = event.target.closest("details.menu");
  if (!menu) return;
  const items = [...menu.querySelectorAll("a")];
  const at = items.indexOf(document.activeElement);
  const steps = { ArrowDown: at + 1, ArrowUp: at < 0 ? -1 : at - 1, Home: 0, End: -1 };
  if (event.key === "Escape" && menu.open) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (event.key in steps) {
    enter(menu, steps[event.key] % items.length);
  } else {
    if (event.key === "Tab") setTimeout(() => { menu.open &&= menu.contains(document.activeElement); });
    return;
  }
  event.preventDefault();
});
document.addEventListener("pointerdown", (event) => {
  document.querySelectorAll("details.menu[open]").forEach((menu) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
});

// The slider over a token's life moves the date-time field.
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-life] input")) return;
  const field = event.target.form.querySelector("[data-utc]");
  field.dataset.utc = new Date(Number(event.target.value) * 1000).toISOString();
  localTimes(event.target.form);
});
// By arrow keys it crosses that life in a hundred steps; the field has the seconds.
document.addEventListener("keydown", (event) => {
  const slider = event.target;
  const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (!way || !slider.matches("[data-life] input")) return;
  event.preventDefault();
  slider.value = Number(slider.value) + way * Math.max(1, Math.round((slider.max - slider.min) / 100));
  slider.dispatchEvent(new Event("input", { bubbles: true }));
});

// Fields for a name suggest those that there are.
let asked = 0; // what is about to ask
let asking = 0; // how often it was asked: an older answer may come later
document.addEventListener("input", (event) => {
  const field = event.target;
  if (!field.matches("[data-suggest]")) return;
  clearTimeout(asked);
  const turn = asking += 1;
  asked = setTimeout(async () => {
    const answer = await fetch(`${field.dataset.suggest}?q=${encodeURIComponent(field.value)}`).catch(() => null);
    const found = answer?.ok && parse(await answer.text().catch(() => "")).querySelector("datalist");
    const ours = found?.dataset.whose === document.body.dataset.whose;
    if (ours && field.list && turn === asking) field.list.replaceChildren(...document.adoptNode(found).children);
  }, 150);
});
document.addEventListener("focusin", (event) => {
  const field = event.target;
  if (field.matches("[data-suggest]") && field.list && !field.list.options.length) field.dispatchEvent(new Event("input", { bubbles: true }));
});

// On phones the navigation is one line, of which the own place shall be seen.
const sections = document.querySelector(".side .sections");
const here = sections?.querySelector("[aria-current]");
if (here && sections.scrollWidth > sections.clientWidth) sections.scrollLeft = here.offsetLeft - sections.offsetLeft - 16;

// What was done is told once, and is no part of the address.
if (document.querySelector("[data-notice]")) {
  const address = new URL(location.href);
  address.searchParams.delete("notice");
  history.replaceState(history.state, "", address);
}
const rendered = location.pathname + location.search;

document.body.append(dialog, announcer);
enhance(document);
comeBack();
point(document.querySelector(`main :is(${WRONG})`));
// What is there from the beginning is read aloud only where it comes to a place that is known.
const told = document.querySelector("main .notice[role=status]");
if (told && told !== document.activeElement) setTimeout(() => say(told.innerText), SLOW);
document.querySelectorAll("main [data-live]").forEach(listen);
document.querySelectorAll("main [data-under-way]").forEach((place) => watch(place));
