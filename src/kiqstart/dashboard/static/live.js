// An open page that is seen keeps a stream, over which the server sends it when it has changed. Without one, htmx asks for
// the page every few seconds, as its attributes say.
(() => {
  "use strict";
  const SECONDS_WITHOUT = 10;
  let stream = null;
  let sent = null;
  let isPressed = false;
  let timer = 0;

  const part = () => document.getElementById("live");
  const isLive = () => part().hasAttribute("hx-trigger");
  // Nothing is replaced under a finger, nor where somebody marks what is to be copied.
  const isBusy = () => isPressed || !document.getSelection().isCollapsed;

  function show() {
    if (sent === null || isBusy()) return;
    const page = sent;
    sent = null;
    htmx.swap(part(), page, { swapStyle: "outerHTML" }, { select: "#live" });
    document.documentElement.dataset.shown = "stream";
    if (!isLive()) close();
  }

  function open() {
    close();
    if (document.hidden || !isLive()) return;
    stream = new EventSource(part().getAttribute("hx-get"));
    stream.onmessage = (event) => {
      sent = event.data;
      show();
    };
    stream.onerror = () => {
      if (stream.readyState === EventSource.CLOSED) timer = setTimeout(open, SECONDS_WITHOUT * 1000);
    };
  }

  function close() {
    clearTimeout(timer);
    if (stream !== null) stream.close();
    stream = null;
  }

  document.addEventListener("DOMContentLoaded", open);
  // A browser has few connections for a site: pages in the background keep none.
  document.addEventListener("visibilitychange", open);
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => event.persisted && open());
  document.addEventListener("selectionchange", show);
  document.addEventListener("pointerdown", () => (isPressed = true));
  for (const name of ["pointerup", "pointercancel"]) {
    document.addEventListener(name, () => {
      isPressed = false;
      setTimeout(show);
    });
  }
  document.addEventListener("htmx:beforeRequest", (event) => {
    const isOpen = stream !== null && stream.readyState === EventSource.OPEN;
    if (event.target === part() && (isOpen || isBusy())) event.preventDefault();
  });
})();
