// Shows what comes in as it comes: what has data-live is taken from the page anew.
"use strict";

const events = new EventSource("/_sandbox/events");
let isFirst = true;

events.onmessage = async () => {
  if (isFirst) {
    isFirst = false;
    return;
  }
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = page.getElementById(part.id);
    // Whoever is on a button in it goes on there.
    if (next !== null && !part.contains(document.activeElement)) part.replaceWith(next);
  }
};
