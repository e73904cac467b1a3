// The audit trail's page: days that are brushed over, and new events.
"use strict";

// Brushing over the days of the histogram shows all of them.
let brushed = null;
const dayAt = (event) => event.target.closest?.("[data-brush] a");
const spanTo = (end) => [brushed.dataset.day, end.dataset.day].sort();
function unbrush() {
  brushed = null;
  document.querySelectorAll("a.brushed").forEach((day) => day.classList.remove("brushed"));
}
document.addEventListener("pointerdown", (event) => {
  brushed = dayAt(event);
  if (brushed) event.preventDefault();
});
document.addEventListener("dragstart", (event) => {
  if (event.target.closest?.("[data-brush]")) event.preventDefault();
});
document.addEventListener("pointerover", (event) => {
  const end = brushed && dayAt(event);
  if (!end) return;
  const [from, to] = spanTo(end);
  document.querySelectorAll("[data-brush] a").forEach((day) => {
    day.classList.toggle("brushed", from <= day.dataset.day && day.dataset.day <= to);
  });
});
document.addEventListener("pointercancel", unbrush);
document.addEventListener("pointerup", (event) => {
  const end = dayAt(event);
  if (brushed && end && end !== brushed) {
    const [from, to] = spanTo(end);
    const url = new URL(brushed.href.baseVal, location.href);
    const next = new Date(`${to}T00:00:00Z`);
    next.setUTCDate(next.getUTCDate() + 1);
    url.searchParams.set("from", `${from}T00:00:00Z`);
    url.searchParams.set("to", next.toISOString().replace(".000", ""));
    location.assign(url);
  }
  unbrush();
});

// The days are one stop of the Tab key; arrows lead from one to the next.
function rove(chart) {
  const days = [...chart.querySelectorAll("a")];
  const reach = (day) => days.forEach((other) => other.setAttribute("tabindex", other === day ? 0 : -1));
  reach(days.findLast((day) => day.querySelector(".shown")) || days.at(-1));
  chart.addEventListener("keydown", (event) => {
    const at = days.indexOf(event.target);
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: days.length - 1 };
    if (at < 0 || !(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const day = days[steps[event.key]];
    if (!day) return;
    reach(day);
    day.focus();
  });
}

// New events are counted quietly and shown when asked for. A page that nobody sees holds no
// connection, of which browsers have few; it catches up when it is seen again.
function listen(place) {
  const address = new URL(place.dataset.live, location.href);
  const button = place.querySelector("button");
  let source = null;
  let fresh = 0;
  let fetching = false;
  const count = () => { button.textContent = fresh === 1 ? "1 new event" : `${fresh} new events`; };
  // Whoever may see the page no more leaves it; where only the connection was refused, it is asked
  // for again.
  const lost = async ({ target }) => {
    if (target.readyState !== EventSource.CLOSED) return;
    const answer = await fetch(location.href).catch(() => null);
    if (answer && (!answer.ok || answer.redirected)) { location.reload(); return; }
    setTimeout(() => { if (source === target && place.isConnected && !document.hidden) follow(); }, 5000);
  };
  const follow = () => {
    source = new EventSource(address);
    source.addEventListener("error", lost);
    source.addEventListener("recorded", (event) => {
      address.searchParams.set("after", event.lastEventId);
      fresh += 1;
      place.hidden = false;
      if (fetching) return;
      count();
      say(button.textContent);
    });
    source.addEventListener("over", () => { source.close(); location.reload(); });
  };
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (document.hidden || !place.isConnected) return;
    follow();
  });
  button.addEventListener("click", async () => {
    if (fetching) return;
    fetching = true;
    button.setAttribute("aria-disabled", "true");
    const rest = busy(place, button, "Loading…");
    const answer = await fetch(location.href).catch(() => null);
    if (answer && (answer.redirected || [401, 403, 404].includes(answer.status))) { location.reload(); return; }
    const now = answer?.ok && parse(await answer.text().catch(() => ""));
    if (now && !isOurs(now)) { location.reload(); return; }
    rest();
    fetching = false;
    button.removeAttribute("aria-disabled");
    if (!now?.getElementById("results")) {
      count();
      tell(place, ["The new events can’t be fetched right now. Try again."]);
      return;
    }
    source?.close();
    for (const id of ["days", "results"]) {
      const part = document.adoptNode(now.getElementById(id));
      document.getElementById(id).replaceWith(part);
      enhance(part);
    }
    document.querySelectorAll("#results [data-live]").forEach(listen);
    // Where the reader is looking stays in sight.
    document.getElementById("newest")?.focus({ preventScroll: true });
  });
  if (!document.hidden) follow();
}
