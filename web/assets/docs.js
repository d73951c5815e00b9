"use strict";

// Shows the document with Swagger UI. A key is asked for only where the document is not shown without one; it is
// kept in this page's memory alone, and leaves the address bar, where Azure's own links have it, at once.

const here = new URL(window.location.href);
const ask = document.getElementById("ask");
const said = document.getElementById("said");

function show(spec, key) {
  // Whatever prefix a proxy in front may add, the API is where this page is.
  spec.servers = [{ url: new URL("..", here).href.replace(/\/$/, "") }];
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#api",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    syntaxHighlight: { activated: true, theme: "agate" },
    tryItOutEnabled: true,
    validatorUrl: null, // it would send the document to somebody else
    onComplete: () => {
      if (key) {
        ui.preauthorizeApiKey("functionKey", key);
      }
    },
  });
}

async function load(key) {
  said.textContent = "Loading …";
  const answer = await fetch("openapi.json", { headers: key ? { "x-functions-key": key } : {} });
  if (answer.status === 401 || answer.status === 403) {
    ask.hidden = false;
    said.textContent = key ? "That key is not one of this API's." : "";
    return;
  }
  if (!answer.ok) {
    said.textContent = `The document cannot be had (${answer.status}): ${await answer.text()}`;
    return;
  }
  show(await answer.json(), key);
  ask.hidden = true;
  said.textContent = "";
}

function start(key) {
  load(key).catch((error) => {
    said.textContent = `The document cannot be shown: ${error.message}`;
  });
}

ask.addEventListener("submit", (event) => {
  event.preventDefault();
  start(document.getElementById("key").value.trim());
});

const given = here.searchParams.get("code") || "";
if (given) {
  here.searchParams.delete("code");
  window.history.replaceState(null, "", here);
}
start(given);
