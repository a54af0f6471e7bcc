// An issuer on this machine for people who review: the certified oidc-provider with users of its own, who sign in by name and password.
//
// It reads lines of JSON. The first is { port, audience, scope_prefix, client_id, users }. Any number of { redirect_uris } and
// { access_token_seconds } follow. It answers each with a line. It ends when its input ends, so it never outlives the process that
// started it.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

// oidc-provider asks for Node.js 22. This is all that it lacks on Node.js 20, which Debian 13 has.
URL.parse ??= (text, base) => {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
};

// What oidc-provider has to say goes to the log, because the answers are on the standard output.
console.info = console.error;

const { Provider } = await import("oidc-provider");
const { default: MemoryAdapter } = await import("oidc-provider/lib/adapters/memory_adapter.js");

const RESOURCE = "urn:titleholder:api";
const WORKDAY_SECONDS = 8 * 3600;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const config = JSON.parse((await lines.next()).value);
const users = new Map(config.users.map((user) => [user.name, user]));
const SCOPES = ["read", "review", "support"];
const state = { redirect_uris: [], access_token_seconds: 600 };

function prefixed(scopes) {
  return scopes.map((scope) => config.scope_prefix + scope).join(" ");
}

class Adapter extends MemoryAdapter {
  async find(id) {
    if (this.model !== "Client") return super.find(id);
    if (id !== config.client_id || state.redirect_uris.length === 0) return undefined;
    return {
      client_id: config.client_id,
      redirect_uris: state.redirect_uris,
      post_logout_redirect_uris: state.redirect_uris,
      response_types: ["code"],
      grant_types: ["authorization_code", "refresh_token"],
      token_endpoint_auth_method: "none",
    };
  }
}

function escaped(text) {
  return String(text).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

function html(title, content) {
  return (
    `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>` +
    '<link rel="icon" href="data:,">' +
    "<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:22rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}" +
    "label,input,button{display:block;width:100%;box-sizing:border-box;font:inherit}input,button{padding:.5rem;margin:.25rem 0 1rem}</style>" +
    `</head><body><h1>${title}</h1>${content}</body></html>`
  );
}

function form(problem) {
  return html(
    "Sign in",
    `<p>The local issuer of Titleholder's review desk.</p>${problem ? `<p role="alert">${problem}</p>` : ""}<form method="post">` +
      '<label>User <input name="user" autocomplete="username" autofocus required></label>' +
      '<label>Password <input name="password" type="password" autocomplete="current-password" required></label>' +
      "<button>Sign in</button></form>",
  );
}

const server = createServer();
server.listen(config.port, "127.0.0.1");
await once(server, "listening");
// Another host than the API's, as elsewhere, so that no cookie goes to both.
const issuer = `http://localhost:${server.address().port}`;
const provider = new Provider(issuer, {
  adapter: Adapter,
  // As API Gateway demands it, tokens are signed by RSA.
  jwks: { keys: [{ ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256" }] },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  clientBasedCORS: (ctx, origin) => state.redirect_uris.some((uri) => new URL(uri).origin === origin),
  features: {
    devInteractions: { enabled: false },
    revocation: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, logoutForm) => {
        const button = '<button form="op.logoutForm" name="logout" value="yes">Sign out</button>';
        ctx.body = html("Sign out", `${logoutForm}${button}<script>document.querySelector("button").click()</script>`);
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = html("Signed out", "<p>You are signed out.</p>");
      },
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        audience: config.audience,
        scope: prefixed(SCOPES),
        accessTokenFormat: "jwt",
        accessTokenTTL: state.access_token_seconds,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  findAccount: (ctx, name) => users.has(name) && { accountId: name, claims: () => ({ sub: name }) },
  interactions: { url: (ctx, interaction) => `/sign-in/${interaction.uid}` },
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed("refresh_token"),
  // What a user may do is granted without a question, and what not is refused.
  loadExistingGrant: async (ctx) => {
    // The refresh tokens of another tab end with its grant.
    const held = ctx.oidc.session.grantIdFor(ctx.oidc.client.clientId);
    const grant = held && (await provider.Grant.find(held));
    if (grant?.accountId === ctx.oidc.account.accountId) return grant;
    const { scopes } = users.get(ctx.oidc.account.accountId);
    const made = new provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.account.accountId });
    made.addResourceScope(RESOURCE, prefixed(scopes));
    made.rejectResourceScope(RESOURCE, prefixed(SCOPES.filter((scope) => !scopes.includes(scope))));
    await made.save(WORKDAY_SECONDS);
    return made;
  },
  renderError: (ctx, error) => {
    ctx.body = html("Sign-in failed", `<p>${escaped(error.error)}: ${escaped(error.error_description)}</p>`);
  },
  rotateRefreshToken: true,
  // Without offline_access, because each client with the grant type gets refresh tokens, and they end with the session.
  scopes: ["openid"],
  ttl: { AccessToken: () => state.access_token_seconds, Grant: WORKDAY_SECONDS, Interaction: 3600, RefreshToken: WORKDAY_SECONDS, Session: WORKDAY_SECONDS },
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/sign-in/")) return next();
  ctx.type = "html";
  ctx.set("Cache-Control", "no-store");
  await provider.interactionDetails(ctx.req, ctx.res);
  if (ctx.method !== "POST") {
    ctx.body = form();
    return;
  }
  let body = "";
  for await (const part of ctx.req) body += part;
  const given = new URLSearchParams(body);
  const user = users.get(given.get("user"));
  if (user?.password !== given.get("password") || !user) {
    ctx.body = form("User or password is wrong.");
    return;
  }
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, { login: { accountId: user.name } }, { mergeWithLastSubmission: false }));
  ctx.status = 303;
});

server.on("request", provider.callback());
console.log(JSON.stringify({ issuer }));
for await (const line of lines) {
  Object.assign(state, JSON.parse(line));
  console.log("{}");
}
process.exit(0);
