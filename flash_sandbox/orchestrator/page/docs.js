// Shows the OpenAPI document: operations by tag, with what each takes and answers, then the schemas.

import { el, setText } from "./dom.js";

const METHODS = ["get", "put", "post", "delete", "patch"];
const $ = (id) => document.getElementById(id);
const entries = [];

function follow(api, value) {
  if (!value?.$ref) return value ?? {};
  return value.$ref.slice(2).split("/").reduce((node, step) => node[step], api);
}

function nameOf(reference) {
  return reference.$ref.split("/").pop();
}

/** Return a type in words; a schema is a link to it. */
function kind(schema) {
  if (schema.$ref) return el("a", { href: `#schema-${nameOf(schema)}`, text: nameOf(schema) });
  if (schema.type === "array") return el("span", {}, "list of ", kind(schema.items));
  const format = { byte: "base64" }[schema.format] ?? schema.format;
  return el("span", { text: [schema.type, format].filter(Boolean).join(", ") });
}

/** Return what a value must be, and what it is where it is left out. */
function facts(schema) {
  const one = schema.items ?? schema;
  const bounds = {
    "at least": one.minimum,
    above: one.exclusiveMinimum,
    "at most": one.maximum,
    "at least so many": schema.minItems,
    "characters at least": one.minLength,
    "characters at most": one.maxLength,
    matches: one.pattern,
    always: one.const === undefined ? undefined : JSON.stringify(one.const),
    "one of": one.enum?.join(", "),
    default: schema.default === undefined ? undefined : JSON.stringify(schema.default),
  };
  const told = Object.entries(bounds).filter(([, value]) => value !== undefined);
  return told.map(([name, value]) => `${name} ${value}`).join(" · ");
}

function field(name, schema, { needed, place = "", description = schema.description }) {
  const text = facts(schema);
  return el(
    "div",
    {},
    el(
      "dt",
      {},
      el("code", { text: name }),
      " ",
      el("span", { class: "kind" }, kind(schema), place && ` in the ${place}`),
      needed ? el("span", { class: "needed", text: " required" }) : null,
    ),
    el("dd", {}, description ?? "", text ? el("span", { class: "facts", text }) : null),
  );
}

function fieldsOf(schema, asRequired) {
  const needed = new Set(asRequired ? schema.required : []);
  const rows = Object.entries(schema.properties ?? {}).map(([name, each]) => field(name, each, { needed: needed.has(name) }));
  return rows.length ? el("dl", { class: "fields" }, ...rows) : el("p", { class: "more", text: "It has no fields." });
}

/** Return what a request or an answer carries. */
function content(title, described) {
  return Object.entries(described.content ?? {}).map(([type, { schema, "x-item-schema": item }]) => {
    const carried = item ?? schema;
    const what = type === "application/json" ? null : ` ${type}${item ? ", a line each" : ""}: `;
    return el("h4", {}, title, " ", what, el("span", { class: "kind" }, kind(carried)));
  });
}

function operation(api, path, method, one, shared) {
  const parameters = [...shared, ...(one.parameters ?? [])].map((each) => follow(api, each));
  const rows = parameters.map((each) =>
    field(each.name, each.schema, { needed: each.required, place: each.in, description: each.description }),
  );
  const body = follow(api, one.requestBody);
  const answers = Object.entries(one.responses).map(([status, response]) => {
    const answer = follow(api, response);
    const title = status === "default" ? "Failure" : `Answer ${status}`;
    const parts = content(title, answer);
    return el("div", {}, ...(parts.length ? parts : [el("h4", { text: title })]), el("p", { class: "more", text: answer.description }));
  });
  const requestParts = content("Request", body);
  const json = body.content?.["application/json"]?.schema;
  return el(
    "article",
    { class: "operation", id: `operation-${one.operationId}` },
    el("h3", { text: one.operationId }),
    el(
      "p",
      { class: "call" },
      el("span", { class: "method", text: method.toUpperCase() }),
      el("span", { text: path }),
      one.security?.length === 0 ? el("span", { class: "keyless", text: "needs no key" }) : null,
    ),
    el("p", { text: one.summary }),
    one.description ? el("p", { class: "more", text: one.description }) : null,
    rows.length ? el("h4", { text: "Parameters" }) : null,
    rows.length ? el("dl", { class: "fields" }, ...rows) : null,
    ...requestParts,
    json ? fieldsOf(follow(api, json), true) : null,
    ...answers,
  );
}

function section(title, description, articles) {
  $("contents").append(el("h2", { text: title }));
  for (const article of articles) {
    const name = article.querySelector("h3").textContent;
    const link = el("a", { href: `#${article.id}`, text: name });
    $("contents").append(link);
    entries.push({ link, article, words: article.textContent.toLowerCase() });
  }
  return el("section", {}, el("h2", { text: title }), description ? el("p", { text: description }) : null, ...articles);
}

async function show() {
  const response = await fetch("openapi.json");
  const api = await response.json();
  setText($("version"), api.info.version);
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, one: item[method], shared: item.parameters ?? [] })),
  );
  const content = $("content");
  content.append(
    el(
      "section",
      {},
      el("h2", { text: api.info.title }),
      el("p", { class: "intro", text: `${api.info.description} Paths are relative to where this page is. Where the orchestrator has an API key, a call carries it as Authorization: Bearer KEY.` }),
    ),
  );
  for (const tag of api.tags) {
    const own = operations.filter(({ one }) => one.tags[0] === tag.name);
    const articles = own.map(({ path, method, one, shared }) => operation(api, path, method, one, shared));
    content.append(section(tag.name[0].toUpperCase() + tag.name.slice(1), tag.description, articles));
  }
  const schemas = Object.entries(api.components.schemas).map(([name, schema]) =>
    el(
      "article",
      { class: "schema", id: `schema-${name}` },
      el("h3", { text: name }),
      schema.description ? el("p", { text: schema.description }) : null,
      fieldsOf(schema, false),
    ),
  );
  content.append(section("Schemas", "What requests and answers carry.", schemas));
  content.setAttribute("aria-busy", "false");
  // It was not there yet when the browser looked for it.
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

$("filter").addEventListener("input", () => {
  const wanted = $("filter").value.trim().toLowerCase();
  for (const { link, article, words } of entries) link.hidden = article.hidden = !words.includes(wanted);
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input")) return;
  event.preventDefault();
  $("filter").focus();
});
show().catch(() => setText($("content"), "The document could not be read."));
