// Signs the page's calls for IAM (Signature Version 4) with the key of the embedded stack. The page of a stack on AWS does not contain this.
const KEY_ID = "test", SECRET = "test", SERVICE = "execute-api";

async function sign(request) {
  const url = new URL(request.url, location.href), headers = request.headers;
  if (url.origin !== location.origin || url.pathname.endsWith("/openapi.json") || headers.Authorization) return request;
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, ""), day = time.slice(0, 8);
  const scope = `${day}/${REGION}/${SERVICE}/aws4_request`;
  const query = [...url.searchParams].map((pair) => pair.map(encoded).join("=")).sort().join("&");
  const canonical = [
    request.method.toUpperCase(), url.pathname.split("/").map(encoded).join("/"), query,
    `host:${url.host}\nx-amz-date:${time}\n`, "host;x-amz-date", hex(await digest(request.body ?? "")),
  ].join("\n");
  let key = bytes(`AWS4${SECRET}`);
  for (const part of [day, REGION, SERVICE, "aws4_request"]) key = await hmac(key, part);
  const signature = hex(await hmac(key, ["AWS4-HMAC-SHA256", time, scope, hex(await digest(canonical))].join("\n")));
  headers["X-Amz-Date"] = time;
  headers.Authorization = `AWS4-HMAC-SHA256 Credential=${KEY_ID}/${scope}, SignedHeaders=host;x-amz-date, Signature=${signature}`;
  return request;
}

const bytes = (text) => new TextEncoder().encode(text);
const digest = (text) => crypto.subtle.digest("SHA-256", bytes(text));
const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const encoded = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

async function hmac(key, text) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, bytes(text));
}
