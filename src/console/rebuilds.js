// The projections' page: how far a rebuild has come, until it has ended.
"use strict";

// How many milliseconds lie between two looks.
const LOOK_EVERY = 2000;
// After how many looks nobody is taken to wait any more: about an hour.
const LOOKS = 1800;

function watch(place, looks = LOOKS) {
  setTimeout(async () => {
    const rows = document.querySelector("main tbody");
    const answer = document.hidden ? null : await fetch(location.href).catch(() => null);
    if (answer && (answer.redirected || [401, 403].includes(answer.status))) { location.reload(); return; }
    const page = answer?.ok && parse(await answer.text().catch(() => ""));
    if (page && !isOurs(page)) { location.reload(); return; }
    const now = page && page.querySelector("main");
    const fresh = now && now.querySelector("tbody");
    // Nothing changes under the focus.
    if (fresh && !rows.contains(document.activeElement)) {
      rows.replaceWith(document.adoptNode(fresh));
      enhance(fresh);
      if (!now.querySelector("[data-under-way]")) { tellEnd(place); return; }
    }
    if (looks > 1) watch(place, looks - 1);
  }, LOOK_EVERY);
}

function tellEnd(place) {
  const wasHere = place.contains(document.activeElement);
  document.querySelector("[data-notice]")?.remove();
  place.textContent = "The rebuild has ended.";
  say(place.textContent);
  if (wasHere) point(place);
}
