"use strict";
// Every page works without this script; it only saves steps.
(() => {
  // a page that was not told where it is reads it off the address bar
  for (const place of document.querySelectorAll("[data-root]")) {
    place.textContent = new URL(place.dataset.root, location.href).href.split("?")[0];
  }
})();
