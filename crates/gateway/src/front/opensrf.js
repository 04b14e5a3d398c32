let opensrfLast = 0;

// The text of a request, as browsers' OpenSRF libraries send it.
function opensrfRequest(service, method, params) {
  opensrfLast += 1;
  return JSON.stringify({ service, thread: "page." + opensrfLast + "." + Math.random(), osrf_msg: [{ __c: "osrfMessage", __p: {
    threadTrace: opensrfLast, locale: "en-US", type: "REQUEST",
    payload: { __c: "osrfMethod", __p: { method, params } } } }] });
}

// What an answer says: a line for each of its messages, with "good" or "bad" if it is either.
function opensrfAnswers(text) {
  let envelope;
  try { envelope = JSON.parse(text); } catch { return [[text, "bad"]]; }
  return (envelope.osrf_msg || [envelope]).map(message => {
    const outer = message.__p || {}, payload = outer.payload || {}, body = payload.__p || payload;
    const where = "#" + (outer.threadTrace ?? "?") + " ";
    if (outer.type === "RESULT") return [where + JSON.stringify(body.content, null, 2)];
    if (outer.type === "STATUS") return [where + body.statusCode + " " + body.status, body.statusCode < 400 ? "good" : "bad"];
    return [text, "bad"];
  });
}

// The parameters that somebody typed; throws what is to be shown to him.
function opensrfParams(text) {
  const params = JSON.parse(text || "[]");
  if (!Array.isArray(params)) throw new Error("a JSON array is needed");
  return params;
}
