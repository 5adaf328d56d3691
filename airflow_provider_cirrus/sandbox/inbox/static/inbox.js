// Shows what comes in as it comes: what has data-live is taken from the page anew, once a second at most.
"use strict";

const events = new EventSource("/_sandbox/events");
const pause = 1000;
let isFirst = true;
let isWaiting = false;
let last = 0;

async function refresh() {
  isWaiting = false;
  const answer = await fetch(location.href);
  last = Date.now();
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = page.getElementById(part.id);
    // Whoever is on a link or a button in it goes on there.
    if (next !== null && !part.contains(document.activeElement)) part.replaceWith(next);
  }
}

events.onmessage = () => {
  if (isFirst) {
    isFirst = false;
    return;
  }
  if (isWaiting) return;
  isWaiting = true;
  setTimeout(refresh, Math.max(0, last + pause - Date.now()));
};
