// Signs a person in at the issuer: authorization code with PKCE, and without an ID token, which the page does not need.
// Access and refresh token are kept only in the closure of `session`. sessionStorage has the verifier, the state and the place on the page
// while the browser is at the issuer. It is empty once a person is signed in.

const STORED = "titleholder.sign_in";
const CHANNEL = "titleholder.sign_in";
// The state of a sign-in in a pop-up begins with this, so that the page that comes back there knows that another one waits for the code.
const POP_UP = "pop-up.";
const EARLY_MS = 60_000;
const TAKEN_WITHIN_MS = 3_000;
// How long the issuer may take for an answer. A person who signs out waits less.
const ANSWER_WITHIN_MS = 15_000;
const REVOKE_WITHIN_MS = 3_000;
// How long a failed renewal is not repeated, while the token is still valid.
const RENEW_AGAIN_MS = 10_000;
// The errors with which an issuer refuses for good. Any other failure, such as 429, may be temporary.
const REFUSALS = new Set([
  "access_denied", "consent_required", "interaction_required", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope",
  "invalid_target", "login_required", "unauthorized_client", "unsupported_grant_type", "unsupported_response_type",
]);
const NO_ACCESS = new Set(["access_denied", "invalid_scope"]);

// `code`: not_loaded (a file of this folder could not be), issuer_unreachable, refused (by the issuer; `message` says why), interrupted (the
// answer belongs to no sign-in of this tab, or another attempt to sign in again began), handed_over (this is a pop-up that is done), ended
// (the session ended; sign in again), pop_up_blocked.
export class SignInError extends Error {
  constructor(code, message, cause) {
    super(message, { cause });
    this.name = "SignInError";
    this.code = code;
  }
}

// The session of the person at the page. If there is none yet, this sends the browser to the issuer, and the promise stays pending.
// `settings`: issuer, client_id, scope, and `files` with the URLs of this folder's files by name.
export async function signIn(settings) {
  const answer = new URLSearchParams(location.search);
  const returned = answer.has("state") && (answer.has("code") || answer.has("error"));
  const stored = JSON.parse(sessionStorage.getItem(STORED) ?? "null");
  sessionStorage.removeItem(STORED);
  if (returned) {
    // First of all, remove the code from the URL, the history and the title bar.
    history.replaceState(null, "", location.pathname + (stored?.hash ?? ""));
    if (answer.get("state").startsWith(POP_UP)) await handOver(answer);
    if (stored?.state !== answer.get("state")) {
      throw new SignInError("interrupted", "This answer of the sign-in belongs to another tab or is out of date.");
    }
  }
  const client = await connect(settings);
  if (returned) {
    try {
      return session(client, await client.redeem(answer, stored));
    } catch (error) {
      // The issuer would refuse the same person again without asking who it is.
      if (error.code === "refused") sessionStorage.setItem(STORED, JSON.stringify({ prompt: "login" }));
      throw error;
    }
  }
  const request = await client.request("", stored?.prompt);
  sessionStorage.setItem(STORED, JSON.stringify({ verifier: request.verifier, state: request.state, hash: location.hash }));
  location.replace(request.url);
  return new Promise(() => {});
}

// In the pop-up: gives the issuer's answer to the page that opened it. A code is useless without the verifier, which only that page has.
async function handOver(answer) {
  const channel = new BroadcastChannel(CHANNEL);
  const taken = new Promise((resolve) => {
    channel.onmessage = ({ data }) => data.taken === answer.get("state") && resolve(true);
    setTimeout(resolve, TAKEN_WITHIN_MS, false);
  });
  channel.postMessage({ answer: answer.toString() });
  const done = await taken;
  channel.close();
  if (!done) throw new SignInError("interrupted", "The page that asked for this sign-in is closed.");
  window.close();
  throw new SignInError("handed_over", "You are signed in again. You can close this window.");
}

// The issuer as this client sees it.
async function connect({ issuer, client_id, scope, files }) {
  const oauth = await library(files);
  const options = { [oauth.allowInsecureRequests]: isLoopback(issuer), signal: () => AbortSignal.timeout(ANSWER_WITHIN_MS) };
  const client = { client_id };
  const redirectUri = location.origin + location.pathname;
  const server = await ask(oauth, async () => {
    const name = new URL(issuer);
    return oauth.processDiscoveryResponse(name, await oauth.discoveryRequest(name, options));
  });

  // Some issuers give a refresh token only to a client that asks for this scope. Those that do not list it refuse it.
  const asked = server.scopes_supported?.includes("offline_access") ? `${scope} offline_access` : scope;

  async function request(prefix, prompt) {
    const verifier = oauth.generateRandomCodeVerifier();
    const state = prefix + oauth.generateRandomState();
    const url = new URL(server.authorization_endpoint);
    const parameters = {
      client_id,
      redirect_uri: redirectUri,
      response_type: "code",
      scope: asked,
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      ...(prompt && { prompt }),
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    return { url: url.href, verifier, state };
  }

  function redeem(answer, { state, verifier }) {
    return ask(oauth, async () => {
      const checked = oauth.validateAuthResponse(server, client, answer, state);
      const response = await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), checked, redirectUri, verifier, options);
      return oauth.processAuthorizationCodeResponse(server, client, response);
    });
  }

  function renew(refreshToken) {
    return ask(oauth, async () => {
      const response = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), refreshToken, options);
      return oauth.processRefreshTokenResponse(server, client, response);
    });
  }

  // The URL at which the issuer ends its own session; null if the issuer names none.
  async function end(token) {
    if (server.revocation_endpoint && token) {
      // A token that cannot be revoked now expires soon.
      const soon = { ...options, signal: AbortSignal.timeout(REVOKE_WITHIN_MS) };
      await oauth.revocationRequest(server, client, oauth.None(), token, soon).catch(() => {});
    }
    if (!server.end_session_endpoint) return null;
    const url = new URL(server.end_session_endpoint);
    // Amazon Cognito's name for this parameter is `logout_uri`.
    for (const name of ["post_logout_redirect_uri", "logout_uri"]) url.searchParams.set(name, redirectUri);
    url.searchParams.set("client_id", client_id);
    return url.href;
  }

  return { request, redeem, renew, end };
}

async function library(files) {
  const address = files?.["oauth4webapi.js"] ?? "oauth4webapi.js";
  try {
    return await import(new URL(address, import.meta.url).href);
  } catch (error) {
    throw new SignInError("not_loaded", "A part of this page could not be loaded. Check your connection and reload the page.", error);
  }
}

// Distinguishes refusals from temporary failures, because only a refusal ends a session.
async function ask(oauth, call) {
  try {
    return await call();
  } catch (error) {
    if (isRefusal(oauth, error)) throw new SignInError("refused", refusal(error), error);
    throw new SignInError("issuer_unreachable", "The sign-in service could not be reached.", error);
  }
}

function isRefusal(oauth, error) {
  if (error instanceof oauth.AuthorizationResponseError) return REFUSALS.has(error.error);
  if (error instanceof oauth.ResponseBodyError) return REFUSALS.has(error.error) && error.status < 500 && error.status !== 429;
  // An issuer may refuse an unknown client with only a header.
  return error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401;
}

// The code and the issuer's own words help the person who manages access.
function refusal({ error, error_description: description }) {
  const said = error ? ` (${[error, description].filter(Boolean).join(": ")})` : "";
  const words = NO_ACCESS.has(error) ? "Your sign-in has no access to this desk. Ask the person who manages access."
    : "The sign-in service refused to sign you in to this desk. Ask the person who manages access.";
  return words + said;
}

// Browsers treat these origins as trustworthy. Any other issuer needs https.
function isLoopback(issuer) {
  return ["127.0.0.1", "[::1]", "localhost"].includes(new URL(issuer).hostname);
}

function session(client, first) {
  let tokens = keep(first);
  let renewal = null;
  let attempt = null;
  const listeners = new Set();
  const others = new BroadcastChannel(CHANNEL);

  // Another tab signed out, and the issuer has ended the session of this one too.
  others.onmessage = ({ data }) => {
    if (!data.signed_out) return;
    tokens = null;
    attempt?.abort();
    for (const listener of listeners) listener(true);
  };
  // Going back to a page whose session has ended would show its content.
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted && !tokens) location.reload();
  });

  function keep({ access_token, refresh_token, expires_in = 300 }, before) {
    const lasts = expires_in * 1000;
    return {
      access: access_token,
      refresh: refresh_token ?? before?.refresh,
      expires: Date.now() + lasts,
      // A token that lasts less than two minutes is renewed after half its time.
      renew: Date.now() + lasts - Math.min(EARLY_MS, lasts / 2),
    };
  }

  function ended(cause) {
    tokens = null;
    for (const listener of listeners) listener(false);
    return new SignInError("ended", "Your session has ended.", cause);
  }

  async function renewed() {
    const old = tokens;
    try {
      const answer = await client.renew(old.refresh);
      // Signing out, or in again, may have been faster.
      if (tokens === old) tokens = keep(answer, old);
    } catch (error) {
      if (tokens !== old) return;
      if (error.code === "refused") throw ended(error);
      // The issuer may answer next time. Until then the token is valid for its remaining time.
      if (Date.now() >= old.expires) throw error;
      old.renew = Math.min(old.expires, Date.now() + RENEW_AGAIN_MS);
    }
  }

  // An access token. `refused`: a token that the API did not accept, although it seemed valid.
  async function token(refused) {
    if (!tokens) throw new SignInError("ended", "Your session has ended.");
    if (refused && refused === tokens.access) tokens.expires = tokens.renew = 0;
    if (tokens.refresh && Date.now() >= tokens.renew) {
      renewal ??= renewed().finally(() => (renewal = null));
      await renewal;
    }
    if (tokens && Date.now() >= tokens.expires) throw ended();
    if (!tokens) throw new SignInError("ended", "Your session has ended.");
    return tokens.access;
  }

  // Called when the session ends, unless the person signs out on this page. The argument: whether the person signed out in another tab.
  function onEnded(callback) {
    listeners.add(callback);
  }

  // To be called by a click, because browsers block other pop-ups. Nothing on this page is lost. This page cannot see whether the pop-up was
  // closed, so another attempt may begin at any time. The earlier one is then `interrupted`.
  async function signInAgain() {
    const popUp = window.open("", "titleholder-sign-in", "popup,width=520,height=680");
    if (!popUp) throw new SignInError("pop_up_blocked", "The browser blocked the window for signing in.");
    attempt?.abort();
    const mine = (attempt = new AbortController()).signal;
    const channel = new BroadcastChannel(CHANNEL);
    const replaced = () => new SignInError("interrupted", "Another window for signing in was opened.");
    try {
      const request = await client.request(POP_UP);
      const answer = await new Promise((resolve, reject) => {
        if (mine.aborted) reject(replaced());
        mine.addEventListener("abort", () => reject(replaced()));
        channel.onmessage = ({ data }) => {
          const given = new URLSearchParams(data.answer);
          if (given.get("state") !== request.state) return;
          channel.postMessage({ taken: request.state });
          resolve(given);
        };
        if (!mine.aborted) popUp.location = request.url;
      });
      const granted = await client.redeem(answer, request);
      if (mine.aborted) throw replaced();
      tokens = keep(granted);
    } finally {
      channel.close();
    }
  }

  // Ends the session here and, if the issuer says how, at the issuer. False: the person is still signed in at the issuer.
  async function signOut() {
    const last = tokens?.refresh ?? tokens?.access;
    tokens = null;
    attempt?.abort();
    others.postMessage({ signed_out: true });
    const url = await client.end(last);
    if (!url) return false;
    location.assign(url);
    return new Promise(() => {});
  }

  return { token, onEnded, signInAgain, signOut };
}
