// Shows /docs/openapi.json, and sends requests. Text is set as text, never as HTML.

const KEY = "ipv8-api-key";
const about = document.getElementById("about");
const note = document.getElementById("note");
const list = document.getElementById("operations");
const methods = ["get", "put", "post", "patch", "delete"];
let description = {};

function make(name, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}

function resolve(schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? description.components.schemas[name] ?? {} : schema ?? {};
}

function example(schema, depth = 0) {
  const found = resolve(schema);
  const type = Array.isArray(found.type) ? found.type[0] : found.type;
  if (depth > 6) return null;
  if (type === "array") return [example(found.items, depth + 1)];
  if (found.properties) {
    return Object.fromEntries(Object.entries(found.properties).map(([name, part]) => [name, example(part, depth + 1)]));
  }
  return {integer: 0, number: 0.5, boolean: true, string: found.description ?? "text", object: {}}[type] ?? null;
}

function table(headings, rows) {
  const result = make("table");
  const head = make("tr");
  head.append(...headings.map((text) => make("th", text, {scope: "col"})));
  result.append(head);
  for (const row of rows) {
    const line = make("tr");
    line.append(...row.map((cell) => {
      const data = make("td");
      data.append(cell);
      return data;
    }));
    result.append(line);
  }
  return result;
}

async function send(method, path, inputs, body, output) {
  const query = new URLSearchParams();
  let target = path;
  for (const {parameter, input} of inputs) {
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (parameter.in === "query" && input.value) query.set(parameter.name, input.value);
  }
  if (query.size) target += `?${query}`;
  const key = sessionStorage.getItem(KEY);
  const headers = key ? {"X-Api-Key": key} : {};
  if (body) headers["Content-Type"] = "application/json";
  output.textContent = "Waiting…";
  try {
    const response = await fetch(target, {method: method.toUpperCase(), headers, body: body?.value});
    const text = await response.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it is */ }
    output.textContent = `${response.status} ${response.statusText}\n${shown}`;
  } catch (error) {
    output.textContent = `The request could not be sent: ${error}`;
  }
}

function content(method, path, operation) {
  const box = make("div");
  const inputs = (operation.parameters ?? []).map((parameter, index) => ({
    parameter, input: make("input", undefined, {id: `${method}${path}${index}`, "aria-label": parameter.name}),
  }));
  if (inputs.length) {
    box.append(table(["Parameter", "In", "Meaning", "Value"], inputs.map(({parameter, input}) => [
      parameter.name + (parameter.required ? " *" : ""), parameter.in, parameter.description ?? "", input])));
  }
  let body;
  const schema = operation.requestBody?.content?.["application/json"]?.schema;
  if (schema) {
    body = make("textarea", undefined, {rows: "6", "aria-label": "Body"});
    body.value = JSON.stringify(example(schema), null, 2);
    box.append(make("p", "Body, as JSON:"), body);
  }
  const button = make("button", "Send", {type: "button"});
  const output = make("pre", "", {role: "status", hidden: ""});
  button.addEventListener("click", () => {
    output.hidden = false;
    send(method, path, inputs, body, output);
  });
  box.append(button, output);
  for (const [code, response] of Object.entries(operation.responses)) {
    box.append(make("p", `${code}: ${response.description}`));
    const answer = Object.values(response.content ?? {})[0]?.schema;
    if (answer) box.append(make("pre", JSON.stringify(example(answer), null, 2)));
  }
  return box;
}

function show() {
  const wanted = document.getElementById("filter").value.toLowerCase();
  const groups = new Map();
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const method of methods.filter((name) => operations[name])) {
      const operation = operations[method];
      if (!`${method} ${path} ${operation.summary ?? ""}`.toLowerCase().includes(wanted)) continue;
      const tag = operation.tags?.[0] ?? "Other";
      groups.set(tag, [...(groups.get(tag) ?? []), {path, method, operation}]);
    }
  }
  list.replaceChildren();
  if (!groups.size) list.append(make("p", "Nothing has this text: shorten it."));
  for (const [tag, entries] of [...groups].sort()) {
    list.append(make("h2", tag));
    for (const {path, method, operation} of entries) {
      const details = make("details");
      const summary = make("summary");
      summary.append(make("span", method.toUpperCase(), {class: "method"}), make("code", path),
                     make("span", ` ${operation.summary ?? ""}`));
      details.append(summary);
      details.addEventListener("toggle", () => {
        if (details.open && details.children.length === 1) details.append(content(method, path, operation));
      });
      list.append(details);
    }
  }
}

document.getElementById("access").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("key");
  if (field.value) sessionStorage.setItem(KEY, field.value);
  else sessionStorage.removeItem(KEY);
  note.textContent = field.value ? "The key is used from now on." : "No key is used.";
  field.value = "";
});
document.getElementById("filter").addEventListener("input", show);

try {
  const response = await fetch("/docs/openapi.json");
  description = await response.json();
  about.textContent = `Version ${description.info.version}. ` + (description.security
    ? "Requests need the API key of the node." : "Requests need no key on this node.");
  show();
} catch (error) {
  about.textContent = `The description could not be loaded: ${error}`;
}
